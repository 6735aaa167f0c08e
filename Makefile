# Two commands matter: `make up` runs the drivers against this host's Docker, `make test` runs every test.
# SHELL=1 on the command line asks `make e2e-vm` for a console; to make itself it would be the shell of every recipe.
console := $(filter command,$(origin SHELL))
override SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up down plugins plugins-install plugins-push deb install uninstall build test test-all e2e-vm all deps-run deps-pack deps-test deps-vm clean

# Where `make install` puts things: below PREFIX, as the host will call it, in DESTDIR, for who packs.
PREFIX := /usr/local
DESTDIR :=

# The pinned Node comes with the npm packages, so any npm will do to begin with.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

node_modules/.installed: package-lock.json package.json packages/*/package.json
	npm ci --no-progress --loglevel=error
	@touch $@

deps-run: node_modules/.installed
	@tools/install-debian-packages.sh run

deps-pack: node_modules/.installed
	@tools/install-debian-packages.sh run pack

deps-test: node_modules/.installed
	@tools/install-debian-packages.sh run test

deps-vm: node_modules/.installed
	@tools/install-debian-packages.sh run test pack vm

build: node_modules/.installed ## compile the packages
	@npm run --silent build

up: deps-run build ## run the drivers against this host's Docker
	@node tools/up.ts

down: node_modules/.installed ## stop the drivers and take back everything they made
	@node tools/down.ts

plugins: deps-pack ## the managed plugins, each a folder in build/plugins: NAMES="ts-bridge" for some of them
	@node tools/pack/plugins.ts $(NAMES)

plugins-install: plugins ## make the managed plugins, give them to this host's Docker and enable them
	@node tools/pack/docker-plugins.ts install $(NAMES)

plugins-push: plugins ## push the managed plugins: REGISTRY=registry.example:5000/team
	@node tools/pack/docker-plugins.ts push $(REGISTRY) $(NAMES)

deb: deps-pack ## the Debian package of this machine's architecture, in build
	@node tools/pack/deb.ts

install: deps-pack ## programs, systemd units, manual pages; PREFIX=/usr/local, DESTDIR= for packers
	@node tools/pack/install.ts "$(DESTDIR)" "$(PREFIX)"

uninstall: node_modules/.installed ## take away what install put there, with the same PREFIX and DESTDIR
	@node tools/pack/install.ts --undo "$(DESTDIR)" "$(PREFIX)"

all: node_modules/.installed ## build, format check, lint, types, unit tests: no root, no Docker
	@npm run --silent all

test: deps-vm ## every test, real Docker engines and a first look in a VM included (root)
	@node tools/test.ts

test-all: deps-vm ## as test, and every suite that belongs in a VM: MINUTES=40 for those that end by then
	@node tools/test.ts all $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SINCE),--since $(SINCE))

e2e-vm: deps-vm build ## suites in a VM: SUITES="920 930" for some of them, SHELL=1 for a console instead (root)
	@node e2e/vm/run.ts $(if $(console),--console,$(SUITES))

clean: ## remove what the build made
	rm -rf packages/*/dist packages/*/*.tsbuildinfo build reports node_modules/.installed
