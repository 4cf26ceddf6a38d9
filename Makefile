# The commands of this project; `make` alone lists them.
as_root := $(if $(filter-out 0,$(shell id -u)),sudo)

.PHONY: help run test check build spec clean

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 8

run: ## the gateway in front of a real Podman, with a demonstration tenant
	@scripts/run

test: ## the whole suite against a Podman of its own; ARGS="..." go to the test runner
	@scripts/test $(ARGS)

check: ## formatting and lints, warnings denied
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

build: ## the debug build
	cargo build --locked

spec: ## openapi/podgate-v1.json from the code
	@mkdir -p target openapi
	cargo run --locked --quiet -- openapi > target/podgate-v1.json
	mv target/podgate-v1.json openapi/podgate-v1.json

clean: ## what was built, the tests' Podman and its images; not the state of `make run` in .podgate
	@if [ -e target/podman ]; then $(as_root) scripts/podman-service stop target/podman; fi
	@$(as_root) rm -rf target/podman target/test-images
	cargo clean
