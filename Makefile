# Two commands matter: `make up` runs the drivers against this host's Docker, `make test` runs every test.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up down build test all deps-run deps-test clean

# The pinned Node comes with the npm packages, so any npm will do to begin with.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

node_modules/.installed: package-lock.json package.json packages/*/package.json
	npm ci --no-progress --loglevel=error
	@touch $@

deps-run: node_modules/.installed
	@tools/install-debian-packages.sh run

deps-test: node_modules/.installed
	@tools/install-debian-packages.sh run test

build: node_modules/.installed ## compile the packages
	@npm run --silent build

up: deps-run build ## run the drivers against this host's Docker
	@node tools/up.ts

down: node_modules/.installed ## stop the drivers and take back everything they made
	@node tools/down.ts

all: node_modules/.installed ## build, format check, lint, types, unit tests: no root, no Docker
	@npm run --silent all

test: deps-test ## every test, real Docker engines included (root)
	@node tools/test.ts

clean: ## remove what the build made
	rm -rf packages/*/dist packages/*/*.tsbuildinfo reports node_modules/.installed
