# The commands of this project; `make` alone lists them.
as_root := $(if $(filter-out 0,$(shell id -u)),sudo)

.PHONY: help run test test-podman5 test-firewall check-document test-clients test-docs test-run test-attack test-alerts test-all test-browser package test-package check build release spec publish-spec clean

help: ## list these commands
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 16

run: ## the gateway in front of a real Podman, with a demonstration tenant
	@scripts/run

test: ## the whole suite against a Podman of its own; ARGS="..." go to the test runner
	@scripts/test $(ARGS)

test-podman5: ## the same against Podman 5
	@scripts/test --podman5 $(ARGS)

check-document: ## openapi/podgate-v1.json against three linters
	@scripts/check-document

test-clients: build check-document ## clients generated from the document, in three languages, against a gateway
	@scripts/test --run scripts/with-gateway tests/clients/run target/client-tools

test-docs: build ## every example of README.md and docs/, beside a gateway
	@scripts/test --run scripts/with-gateway tests/docs/run

test-run: ## `make run`, the lines that it prints, and once more
	@$(as_root) scripts/test-run

test-attack: build ## what schemathesis makes of the document, five minutes against a gateway; ARGS="--seed 2 --seconds 3600"
	@scripts/client-tools target/client-tools
	@scripts/test --run scripts/with-gateway tests/schemathesis/run target/client-tools $(ARGS)

test-firewall: ## deploy/podgate.nft against real containers, on Podman 4 and 5
	@$(as_root) scripts/test-firewall
	@$(as_root) scripts/test-firewall --podman5

test-alerts: ## deploy/alerts.yml against Prometheus' own checker
	@scripts/test-alerts

test-browser: ## the documentation page in Chromium
	@scripts/browser
	@scripts/test --test browser

test-all: ## all that CI runs, and what takes longer: clients in Go and Java, an hour of attack with the day's own seed
	@.ci/run
	@tests/clients/more target/client-generator
	@$(MAKE) --no-print-directory test-attack ARGS="--seed $$(date +%y%j) --seconds 3600"

package: ## the Debian package, target/debian/podgate_*.deb
	@scripts/package

test-package: ## the package installed, upgraded, removed in a Debian of its own; the image built and run
	@package=$$(scripts/package --debug) && $(as_root) scripts/test-package "$$package"
	@$(as_root) scripts/test-image target/debug/podgate

check: ## formatting, lints (warnings denied), spelling, dependencies
	cargo fmt --all --check
	cargo clippy --locked --all-targets --workspace -- -D warnings
	scripts/habits

build: ## the debug build, and the program that runs inside containers
	scripts/build-agent
	cargo build --locked

release: ## the same for a real host: target/release/podgate and podgate-agent beside it
	scripts/build-agent
	cargo build --locked --release

spec: ## openapi/podgate-v1.json from the code
	@mkdir -p target openapi
	cargo run --locked --quiet -- openapi > target/podgate-v1.json
	mv target/podgate-v1.json openapi/podgate-v1.json

publish-spec: spec ## what clients may rely on from now on: openapi/published.json
	cp openapi/podgate-v1.json openapi/published.json

clean: ## what was built, the tests' Podman and its images; not the state of `make run` in .podgate
	@for store in target/podman target/podman5 target/podman-firewall; do \
	  $(as_root) scripts/podman-service stop $$store && $(as_root) rm -rf $$store || exit 1; done
	@$(as_root) rm -rf target/podman5-root target/podman5-root.log target/test-images
	cargo clean
