// The failpoints of bbolt are tried by a module of its own, for the dependency that sets them.
module example.com/tokenstore/boltstore/failpoints

go 1.26.0

require (
	example.com/tokenstore v0.0.0-00010101000000-000000000000
	go.etcd.io/gofail v0.2.0
)

require (
	github.com/oklog/ulid/v2 v2.1.2 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/sys v0.45.0 // indirect
)

replace example.com/tokenstore => ../..
