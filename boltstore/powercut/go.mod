// The disk whose power is cut is a module of its own, for its dependency.
module example.com/tokenstore/boltstore/powercut

go 1.26.0

require (
	example.com/tokenstore v0.0.0-00010101000000-000000000000
	github.com/hanwen/go-fuse/v2 v2.12.1
	go.uber.org/goleak v1.3.0
)

require (
	github.com/oklog/ulid/v2 v2.1.2 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/sys v0.45.0 // indirect
)

replace example.com/tokenstore => ../..
