# Build, try and test contain. demo and test do all their set-up themselves, on
# a Debian-like machine as root, or with the tools of test/deps in place.

# nsenter, the C half of libcontainer, needs cgo.
export CGO_ENABLED = 1

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION) -linkmode=external -extldflags "-static -no-pie"
BUILD   := .build
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo -E)
PREFIX  ?= /usr/local

.PHONY: build probe demo test unit integration lint install clean deps

build: deps
	go build -trimpath -buildmode=exe -tags netgo,osusergo -ldflags '$(LDFLAGS)' -o contain .

deps:
	@$(SUDO) test/deps go cc ip

probe: deps
	@mkdir -p $(BUILD)
	cc -O2 -Wall -Wextra -static -s -o $(BUILD)/probe test/probe/probe.c

demo: build
	@$(SUDO) test/deps busybox unshare
	@$(SUDO) test/demo $(CURDIR)/contain

test: unit integration

unit: deps
	go test -count=1 .

# Every promise on the real binary, as root, in namespaces of the tests' own.
integration: build probe
	@$(SUDO) test/deps taskset
	CONTAIN=$(CURDIR)/contain PROBE=$(CURDIR)/$(BUILD)/probe \
	go test -count=1 $(if $(SUDO),-exec '$(SUDO)') ./test

lint: deps
	@$(SUDO) test/deps shellcheck mandoc
	test -z "$$(gofmt -l .)" || { gofmt -d .; exit 1; }
	go vet ./...
	go mod tidy -diff
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	shellcheck .ci/run test/deps test/demo
	mandoc -Tlint -W warning contain.8

install: build
	install -D -m 755 contain $(DESTDIR)$(PREFIX)/sbin/contain
	install -D -m 644 contain.8 $(DESTDIR)$(PREFIX)/share/man/man8/contain.8

clean:
	rm -rf contain $(BUILD)
