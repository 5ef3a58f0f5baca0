# Two commands do everything on a machine with Go, Node and make: `make run` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN     := bin
REPLICAS ?= 1
LAB_DATA ?= data/lab$(if $(filter-out 1,$(REPLICAS)),-$(REPLICAS))
FLAGS    :=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GO      := CGO_ENABLED=0 go
# What the agent that scrapes is built with: remove_all_sd lets it scrape as Prometheus does, with the service discoveries
# file, http, static and those named here. Without any tag only the agent without the scraper is built.
TAGS    ?= remove_all_sd,enable_consul_sd,enable_dns_sd,enable_kubernetes_sd
TOOL    := $(GO) tool -modfile=tools/go.mod
SETUP   := deploy/setup.sh

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

need-go:
	@command -v go >/dev/null || { echo "go is missing: install Go 1.26 or newer from your package manager, then run this again"; exit 1; }
need-node:
	@command -v npm >/dev/null || { echo "node and npm are missing: install Node.js 20.19 or newer, then run this again"; exit 1; }

.PHONY: help need-go need-node build web run test test-unit test-web test-race e2e check postgresql-majors mysql fuzz truth eval calibrate bench recordings clean setup

web: need-node ## build the live page
	@cd web && if [ ! -d node_modules ] || [ package-lock.json -nt node_modules ]; then echo "web: installing the page's build tools"; npm ci --no-audit --no-fund --loglevel=error && touch node_modules; fi
	@echo "web: building the page"; cd web && npm run --silent build

build: need-go web ## build the binaries into bin/
	@echo "go: building bin/evenkeel-server, bin/evenkeel-agent (with and without scraper) and bin/evenkeel-lab (the first time this compiles"
	@echo "    VictoriaMetrics, etcd and the OpenTelemetry Collector: some minutes; later it takes seconds)"
	@$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/evenkeel-server ./server
	@$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/evenkeel-agent ./agent
	@rm -f $(BIN)/evenkeel-agent-scraper
ifneq ($(TAGS),)
	@$(GO) build -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o $(BIN)/evenkeel-agent-scraper ./agent
endif
	@$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/evenkeel-lab ./deploy/lab

run: build ## build, start the server (REPLICAS=3: three) and a three-site lab, print the URL; Ctrl-C stops all; FLAGS="--base-port 19400 --listen 127.0.0.1:9450": other ports
	@exec $(BIN)/evenkeel-lab run --data $(LAB_DATA) --replicas $(REPLICAS) $(FLAGS)

setup: ## install what tests and benches need from the package manager (skipped where present)
	@$(SETUP) test

test: setup build test-unit test-web e2e ## install what the tests need and run all of them

test-unit: need-go
	@echo "go: unit, contract, property and scenario tests, with the race detector"
	@go test -race -shuffle=on -timeout 15m $$(go list ./... | grep -vE '/deploy/(e2e|contract|recordings)')

test-web: need-node
	@echo "web: unit tests of the page"; cd web && npm run --silent test

e2e: need-go ## start the real binaries as strangers and break sites
	@echo "e2e: real binaries, real faults (about ten minutes)"
	@$(GO) test -count=1 -timeout 40m -v ./deploy/e2e/... ./deploy/contract/... 2>&1 | grep -vE '^=== (RUN|PAUSE|CONT|NAME)'
	@echo "e2e: a recording of two minutes"
	@$(GO) test -count=1 -timeout 10m ./deploy/recordings

check: need-go ## formatting, linters, generated files, known vulnerabilities
	@echo "check: formatting, linters"
	@$(TOOL) golangci-lint config verify
	@$(TOOL) golangci-lint run ./...
	@$(TOOL) golangci-lint fmt --diff ./... >/dev/null || { echo "not formatted: run '$(TOOL) golangci-lint fmt'"; exit 1; }
	@echo "check: go vet, go.mod, generated files"
	@$(GO) vet ./...
	@$(GO) vet -tags '$(TAGS)' ./agent ./agent/internal/scrapefile
	@$(GO) mod tidy -diff >/dev/null || { echo "go.mod is not tidy: run 'go mod tidy'"; exit 1; }
	@$(GO) generate ./... && git diff --exit-code -- '*.gen.go' || { echo "generated files differ: run 'go generate ./...' and commit"; exit 1; }
	@echo "check: known vulnerabilities"
	@$(TOOL) govulncheck ./... || echo "govulncheck did not pass or its database is out of reach; see above"

postgresql-majors: need-go ## the tests of PostgreSQL against versions 10, 14 and 18 besides Debian's
	@$(SETUP) majors
	@$(GO) test -count=1 -timeout 30m ./agent/internal/replica/postgresql

mysql: need-go ## the tests of MySQL with a real one, from Debian's sid, beside MariaDB
	@$(SETUP) mysql
	@$(GO) test -count=1 -timeout 30m ./agent/internal/replica/mysql
	@$(GO) test -count=1 -timeout 30m -run '^TestHeartbeat(MySQL|Clocks|LeftOut)$$' ./agent/replicationlagreceiver

FUZZTIME ?= 30s
fuzz: need-go ## fuzz every parser of foreign bytes, FUZZTIME each
	@for pkg in $$(go list ./...); do for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	  echo "fuzz: $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; done; done

TRUTH ?= 10m
truth: need-go ## replication lag beside other makers' exporters and what really happened, TRUTH long: name value unit
	@$(SETUP) truth
	@PG_BIN=$$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1) TRUTH=$(TRUTH) TRUTH_BESIDE=1 $(GO) test -count=1 -timeout 3h -v -run '^TestTruth$$' $(addprefix ./agent/internal/replica/,postgresql mysql redis nats kafka) 2>&1 \
	  | awk '/ figure lag_/ { sub(/.* figure /, ""); print; next } !/^=== / { print > "/dev/stderr" }'

DATA ?= ../shared/data/detection
EVALTOOL ?= ../shared/tools/evaltool
eval: need-go ## measure the detectors on the labelled series at DATA, with the evaluator at EVALTOOL
	@echo "eval: building the server"; $(GO) build -o $(BIN)/evenkeel-server ./server
	@deploy/eval.sh $(BIN)/evenkeel-server $(DATA) $(EVALTOOL) $(BIN)/eval

SERIES ?= 2000
calibrate: need-go ## count the false alarms of auto on simulated noise, SERIES of each kind: set beside achieved; half an hour
	@$(GO) run ./deploy/calibrate -series $(SERIES)

bench: build ## all benchmarks, one line a figure: name value unit
	@$(SETUP) bench
	@$(GO) run ./deploy/bench all

bench-%: build ## one group of benchmarks
	@$(SETUP) bench
	@$(GO) run ./deploy/bench $*

FOR        ?= 65m
SEED       ?= 1
RECORDINGS ?= data/recordings
recordings: build ## record failing sites as a labelled data set: FOR=65m long, faults by SEED=1, into data/recordings
	@$(GO) run -ldflags '$(LDFLAGS)' ./deploy/recordings record -for $(FOR) -seed $(SEED) -journal $(RECORDINGS)/journal-$(SEED) -out $(RECORDINGS)/set-$(SEED)
	@echo "recordings: the data set is in $(RECORDINGS)/set-$(SEED); several: go run ./deploy/recordings export -out SET JOURNAL..."

clean: ## remove what was built and the lab's data
	@rm -rf $(BIN) data web/dist web/node_modules
