// The tools of CI, pinned. They are a module of their own so that the library's go.mod stays free of them.
module example.com/tokenstore/tools

go 1.26.0

tool (
	golang.org/x/vuln/cmd/govulncheck
	honnef.co/go/tools/cmd/staticcheck
)

require (
	example.com/tokenstore v0.0.0
	github.com/BurntSushi/toml v1.6.0
	github.com/google/licensecheck v0.3.1
	github.com/oklog/ulid/v2 v2.1.2
	golang.org/x/exp v0.0.0-20261113113407-e3970619a1a4
	golang.org/x/mod v0.42.0
	golang.org/x/tools v0.52.1-0.20261106145633-d407941a339a
)

require (
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/telemetry v0.0.0-20261010193011-f71dc92da45e // indirect
	golang.org/x/vuln v1.9.0 // indirect
	honnef.co/go/tools v0.8.2 // indirect
)

replace example.com/tokenstore => ..
