# Build, try and test contain. demo and test do all their set-up themselves, on
# a Debian-like machine as root, or with the tools of test/deps in place.

# nsenter, the C half of libcontainer, needs cgo.
export CGO_ENABLED = 1

HOSTARCH := $(shell go env GOHOSTARCH 2>/dev/null)
GOARCH   ?= $(HOSTARCH)
export GOARCH CC
# The C compiler, and the name of the binary, when building for another machine.
ifneq ($(GOARCH),$(HOSTARCH))
CC      := aarch64-linux-gnu-gcc
CONTAIN := contain-$(GOARCH)
else
CONTAIN := contain
endif

GIT     := git -c safe.directory='*'
VERSION := $(shell $(GIT) describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  := $(shell $(GIT) rev-parse --short HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -linkmode=external -extldflags "-static -no-pie"
GOBUILD := go build -buildvcs=false -trimpath -buildmode=exe -tags netgo,osusergo -ldflags '$(LDFLAGS)'
BUILD   := .build
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo -E)
PREFIX  ?= /usr/local

# What the integration tests drive, and how they are run.
BINARIES = CONTAIN="$(CURDIR)/contain" PROBE="$(CURDIR)/$(BUILD)/probe" AUDIT="$(CURDIR)/$(BUILD)/audit" \
	ESCAPE="$(CURDIR)/$(BUILD)/escape" CONTAIN_ALTERED="$(CURDIR)/$(BUILD)/contain-altered" \
	CONTAIN_RESTING="$(CURDIR)/$(BUILD)/contain-resting"
GOTEST   = go test -count=1 $(if $(SUDO),-exec '$(SUDO)')

# For test-vm: the guest's kernel, whether systemd is its init, and whether that
# has cgroup v1; which tests, and which not.
KERNEL  ?= 6.1
SYSTEMD ?=
V1      ?=
RUN     ?= .
SKIP    ?= ^$$

.PHONY: bench vm-binaries build counts probe audit mutations demo test unit integration soak test-vm test-arm64 lint install clean deps faults chaos

build: deps
	$(GOBUILD) -o $(CONTAIN) .

deps:
	@test/deps go $(CC)

probe: deps
	@mkdir -p $(BUILD)
	$(CC) -O2 -Wall -Wextra -static -s -o $(BUILD)/probe test/probe/probe.c
	$(CC) -O2 -Wall -Wextra -static -s -o $(BUILD)/escape test/escape/escape.c
	test/probe/audit-build $(CC) $(BUILD)/audit
	$(patsubst main.version=%,main.minMemoryPages=1,$(patsubst main.commit=%,main.panicOn=SIGUSR2,$(GOBUILD))) -o $(BUILD)/contain-altered .
	$(patsubst main.commit=%,main.restsAfter=1ms,$(GOBUILD)) -o $(BUILD)/contain-resting .

demo: build
	@test/deps busybox unshare ip
	@$(SUDO) test/demo "$(CURDIR)/contain"

test: unit integration

unit: deps
	go test -count=1 . ./test/bench

# Every promise on the real binary, as root, in namespaces of the tests' own; and those
# about what happens while a program runs on one that goes to rest after a millisecond.
RESTING = Signal|Stop|Continu|Job|Timeout|OutOfMemory|Report|Killed|Status|Caller|Unfinished|LastWords|Faults|Chaos|ExitCode|Address|Userns|Abort|Nothing
integration: build probe
	@test/deps taskset setpriv mke2fs busybox strace
	$(BINARIES) $(GOTEST) -timeout 20m ./test
	$(BINARIES) CONTAIN="$(CURDIR)/$(BUILD)/contain-resting" $(GOTEST) -timeout 20m -run '$(RESTING)' ./test

# What a start costs, counted: test/counts.tsv, which TestCounts compares with.
counts: build probe
	@test/deps strace taskset
	$(BINARIES) CONTAIN_COUNTS=1 $(GOTEST) -v -run '^TestCounts$$' ./test
	$(GIT) diff --stat test/counts.tsv

# How fast and how small contain is, beside others, which are installed (what cannot be is
# said): some ten minutes, on a machine that has nothing else to do.
#   RUNS=30                of each job and tool
#   ONLY=crun,bwrap        these tools, besides contain and the limit, test/bench/limit
#   PARTS=times,parallel,memory,throughput,growth
#                          or some: starts one by one, 50 at 8 at a time, memory while
#                          programs run, load inside beside the same outside, starts
#                          beside MOST=1000 running programs (1 MB each), cgroups, files
#   BENCH_OUT=FILE         the figures, in JSON
#   PLOT=docs/bench.svg    a picture of them
BENCH_OUT ?= $(BUILD)/bench.json
bench: build
	@test/deps busybox ip unshare nsenter
	@for tool in crun runc bwrap lxc-execute systemd-nspawn; do test/deps $$tool || :; done
	@mkdir -p $(BUILD)
	$(CC) -O2 -Wall -Wextra -static -s -o $(BUILD)/limit test/bench/limit/limit.c
	$(CC) -O2 -Wall -Wextra -static -s -o $(BUILD)/load test/bench/load/load.c
	go build -buildvcs=false -o $(BUILD)/bench ./test/bench
	@$(SUDO) env CONTAIN="$(CURDIR)/contain" LIMIT="$(CURDIR)/$(BUILD)/limit" LOAD="$(CURDIR)/$(BUILD)/load" FILTER="$(CURDIR)/seccomp_$(GOARCH).bpf" \
	JOBS="$(CURDIR)/test/bench/jobs" BENCH_OUT="$(abspath $(BENCH_OUT))" PLOT="$(abspath $(PLOT))" \
	RUNS="$(RUNS)" ONLY="$(ONLY)" PARTS="$(PARTS)" MOST="$(MOST)" $(BUILD)/bench

# What a program reaches under Docker's defaults, in a runc of libcontainer's version,
# and in here: make test/audit/table.tsv, and show where this is the looser.
audit: build probe
	@test/deps libseccomp
	GOBIN="$(CURDIR)/$(BUILD)" go install -tags seccomp github.com/opencontainers/runc@$$(go list -m -f '{{.Version}}' github.com/opencontainers/runc)
	$(SUDO) test/audit/docker.sh "$(CURDIR)/$(BUILD)/runc" "$(CURDIR)/$(BUILD)/audit" >$(BUILD)/audit.docker
	$(BINARIES) CONTAIN_AUDIT_DOCKER="$(CURDIR)/$(BUILD)/audit.docker" $(GOTEST) -timeout 20m -v -run '^TestAudit$$' ./test
	cut -f 5 test/audit/table.tsv | sort | uniq -c

# What is left when contain is killed at N random times, beside live ones: some fifteen
# minutes for 10,000. TOOL=runc or TOOL=crun kills these, for comparison.
TOOL ?= contain
chaos: build probe
	@test/deps busybox mke2fs $(filter-out contain,$(TOOL))
	$(BINARIES) CONTAIN_TEST_CHAOS=$(or $(N),10000) CONTAIN_TEST_CHAOS_TOOL=$(TOOL) $(GOTEST) -timeout 5h -v -run '^TestChaos$$' ./test

# Whether the tests notice when contain is weakened: some five minutes, as root.
mutations: build probe
	$(SUDO) test/escape/mutations.sh "$(CURDIR)/$(BUILD)" $(MUTATIONS)

# N runs in a row, some ten minutes for 20,000: what the kernel counts stays flat.
soak: build probe
	$(BINARIES) CONTAIN_TEST_RUNS=$(or $(N),20000) $(GOTEST) -timeout 5h -v -run '^TestLongLife$$' ./test

# Every system call of a start and an end fails once for every reason (TestFaults tries
# some): an hour or two, as root. MOST=N: only so many, of each call one first.
faults: build probe
	$(BINARIES) CONTAIN_TEST_FAULTS=all CONTAIN_TEST_FAULTS_MOST=$(MOST) $(GOTEST) -timeout 0 -v -run '^TestFaults$$' ./test

# The same tests in a virtual machine, else with pure cgroup v2, see test/vm/run.
# What waits there may take longer: starting programs is 50 times slower. Of many
# similar cases a tenth is tried, unless FULL is set.
test-vm: $(if $(BUILT),,vm-binaries)
	cd test && $(SUDO) vm/run -k $(KERNEL) $(if $(SYSTEMD),-s) $(if $(V1),-1) -g -t 2700 -m 2048 \
	$(patsubst %,-e %,$(BINARIES)) \
	-e CONTAIN_TEST_PATIENCE=60s -e CONTAIN_TEST_REQUIRED=1 "$(CURDIR)/$(BUILD)/integration.test" $(if $(FULL),,-test.short) -test.timeout 40m -test.run '$(RUN)' -test.skip '$(SKIP)'

vm-binaries: build probe
	go test -c -o $(BUILD)/integration.test ./test

# Build for arm64; run its unit tests and a smoke test by user-mode emulation. QEMU 7.2
# has neither openat2 (rootfs, program, verify) nor open_tree (mounts) nor bpf (filters) nor neighbours
# (questions), and keeps the limits of memory to itself (prlimit).
test-arm64: build
	$(MAKE) build GOARCH=arm64
	@test/deps qemu-aarch64-static
	GOARCH=arm64 CC=aarch64-linux-gnu-gcc go test -count=1 -exec qemu-aarch64-static \
	-tags netgo,osusergo -ldflags '-linkmode=external -extldflags "-static"' -skip 'Rootfs|CheckProgram|Verify|ReadonlyAndMasks|Nodes|AttachFollows|NewMount|StrictFilter|Question|Rlimit(Set|Names|LastCounts)' .
	test "$$(qemu-aarch64-static ./contain-arm64 -h)" = "$$(./contain -h)"
	qemu-aarch64-static ./contain-arm64 -version

lint: deps
	@test/deps shellcheck mandoc
	test -z "$$(gofmt -l .)" || { gofmt -d .; exit 1; }
	go vet ./...
	go mod tidy -diff
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	shellcheck .ci/run test/deps test/demo test/vm/build test/vm/deps test/vm/guest-init test/vm/guest-main test/vm/run \
	test/probe/audit-build test/escape/mutations.sh test/audit/docker.sh test/audit/nodes test/bench/jobs/*.sh
	mandoc -Tlint -W warning contain.8

install: build
	install -D -m 755 contain "$(DESTDIR)$(PREFIX)/sbin/contain"
	install -D -m 644 contain.8 "$(DESTDIR)$(PREFIX)/share/man/man8/contain.8"

clean:
	rm -rf contain contain-arm64 $(BUILD)
