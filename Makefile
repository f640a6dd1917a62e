.DEFAULT_GOAL := help
.PHONY: help quickstart test prove race e2e lint bench bench-peers fuzz mutants mutation ci

help: ## show what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: ## see the library at work
	go run ./examples/quickstart

test: ## run all tests
	go test ./...

prove: ## show for each promise what was tried; PROVE=short or long
	cd tools && GOWORK=off go run ./prove

race: ## run all tests under the race detector
	go test -race ./...

e2e: ## run the official SDKs against a real server
	cd e2e && GOWORK=off go test -count=1 ./...
	bash .ci/run node

lint: ## check the format, vet, staticcheck
	bash .ci/run gofmt vet staticcheck

bench: ## run all benchmarks
	go test -run '^$$' -bench . -benchmem ./...

bench-peers: ## measure beside Redis, PostgreSQL, fosite and others, in half an hour, and write docs/benchmarks.md
	bash bench/install.sh
	cd bench && GOWORK=off go run . -docs ../docs $(BENCH_FLAGS)

fuzz: ## fuzz every target for a minute each
	FUZZ_TIME=1m bash .ci/run fuzz

mutants: ## seed bugs and see that the named test fails for each (MUTANTS=short: a few)
	cd tools && GOWORK=off go run ./mutants

mutation: ## count the small changes of the code that tests notice, and compare with docs/mutation.md, in an hour or two
	cd tools/mutation && ulimit -v 20000000 && GOWORK=off go run . $(MUTATION_FLAGS)

ci: ## run all that must hold before a change is merged
	bash .ci/run
