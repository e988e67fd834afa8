# `make` alone lists the targets. The module needs no build system: these are the
# commands of the checks, written down once. .ci/run calls them.

# Packages with state that one test could leave to the next. A list of -cpu runs all tests once for
# each number in one process, as -count does.
TESTED := ./arena ./hooks ./metrics ./numa ./rcu ./sheaves ./slub/... ./internal/percpu ./internal/sys

# Tests of source text and of compiled code, which neither order nor CPUs nor checks change, and
# packages that have no others. `go test ./...` runs them.
OF_SOURCE := TestFastPathGolden|TestFilesReferDownwards|TestGeneratedLoopsAreCurrent
CHECKED = $$(go list ./... | grep -vE '/internal/(lint|mistakes)$$')

# Without cgo and with checked pointers the files are those that `go test ./...` and `make vet` have
# vetted, for one platform or another.
NO_VET := -vet=off

# Only the module's packages and x/sys have their pointers checked. Checking all packages would mean
# compiling the standard library once more.
CHECKPTR := -gcflags=github.com/slubd/slubd/...=-d=checkptr=2 -gcflags=golang.org/x/sys/...=-d=checkptr=2

# The C compiler for linux/arm64, of the Debian packages gcc-aarch64-linux-gnu and
# libc6-dev-arm64-cross.
ARM64_CC := aarch64-linux-gnu-gcc

# 64-bit systems whose files other than those of slub and what it imports are linux/arm64's. 32-bit
# ones are refused with one sentence.
OTHERS := loong64 ppc64le riscv64 s390x
REFUSED := 386 arm

# Emulators of one process each, of the Debian package qemu-user-static. Tests that start a process
# of their own fail under them, as do those that ask on which node a page lies: docs/platforms.md.
# That of loong64 has pages of 16 KiB, for which there are no arenas, and so no tests of slub.
EMULATED := arm64 loong64 ppc64le riscv64 s390x
EMULATOR = qemu-$$(echo $$a | sed 's/arm64/aarch64/; s/loong64/loongarch64/')-static
OF_PROCESSES := Scoreboard|ManyPossibleCPUs
OF_MEMORY := TestNumbersA|NewSlabsAllocateNothing|TestNumbersD|DoubleFree.*Found|AfterFreeIsFound|AfterPeaks|TryAgain$$|Logged$$
OF_CPUS := InASmallContainer|PossibleCPUsDontRaise
NOT_EMULATED := $(OF_PROCESSES)|$(OF_MEMORY)|$(OF_CPUS)|TestNUMA

# The Go release behind that of go.mod.
NEXT_GO := go1.27.4

# Environments in which Go compiles its own library again: other instructions, checks of pointers in
# C, another release, programs that can be loaded anywhere, and paths that are not this machine's.
BUILDS := GOAMD64=v3 GOEXPERIMENT=cgocheck2 GOTOOLCHAIN=$(NEXT_GO) GOFLAGS=-buildmode=pie GOFLAGS=-trimpath
CONCURRENT := Checker|Stress|Rseq|SelfTest|Thread|Malloc

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help test race nocgo invariants hardened sampled asan flags images vet tidy cross platforms staticcheck lint bench mistakes numa ci

help:           ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

test:           ## all tests
	go test ./...

race:           ## all tests with the race detector; arenas lie on the Go heap
	go test -race -timeout 30m -skip '$(OF_SOURCE)' $(CHECKED)

nocgo:          ## all tests without cgo, that is on the trylock engine
	CGO_ENABLED=0 go test $(NO_VET) -skip '$(OF_SOURCE)' $(CHECKED)

invariants:     ## all tests with the types' equations checked
	go test -tags invariants -skip '$(OF_SOURCE)' $(CHECKED)

hardened:       ## quick tests of slub in a process in which all caches are hardened
	SLUBD_HARDENED=1 go test -short -count=1 -skip '$(OF_SOURCE)' ./slub

sampled:        ## quick tests of slub in processes that sample, or guard, most objects
	SLUBD_PROFILE_RATE=1 go test -short -count=1 -skip '$(OF_SOURCE)' ./slub
	SLUBD_GUARD=64 go test -short -count=1 -skip '$(OF_SOURCE)' ./slub

asan:           ## tests of what handles raw memory, with the address sanitizer
	go test -asan ./slub ./sheaves ./arena ./internal/percpu

flags:          ## quick tests in a random order, on 1, 2, 4 CPUs, twice; checked pointers, GOGC=1
	go test -short -count=1 -shuffle=on -cpu 1,2,4 -skip '$(OF_SOURCE)' $(TESTED)
	go test -short -count=2 $(filter-out ./arena ./slub/...,$(TESTED))
	go test -short -count=1 $(NO_VET) $(CHECKPTR) -skip '$(OF_SOURCE)' $(TESTED)
	go test -short -count=1 $(NO_VET) -exec 'env GODEBUG=clobberfree=1 GOGC=1' -run '$(CONCURRENT)' \
		./internal/percpu ./slub

images:         ## programs linked with each C library, also without /proc and /sys
	SLUBD_PLATFORMS=1 go test -count=1 -run '^TestImages$$' ./slub

vet:            ## go vet for this machine, for linux/arm64 and for darwin
	go vet ./...
	GOOS=linux GOARCH=arm64 go vet ./...
	GOOS=darwin go vet ./...

tidy:           ## that go.mod and go.sum are what go mod tidy makes of them
	go mod tidy -diff

cross:          ## build for linux/arm64, darwin, other 64-bit systems; 32-bit ones are refused
	GOOS=linux GOARCH=arm64 go build ./...
	GOOS=darwin go build ./...
	@if command -v $(ARM64_CC) >/dev/null; then echo "linux/arm64 with cgo"; \
		GOOS=linux GOARCH=arm64 CGO_ENABLED=1 CC=$(ARM64_CC) go build ./slub; \
	else [ -z "$$SLUBD_REQUIRE" ] || { echo "$(ARM64_CC) is missing: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"; exit 1; }; fi
	@for a in $(OTHERS); do echo "linux/$$a"; \
		GOOS=linux GOARCH=$$a CGO_ENABLED=0 go build ./slub || exit 1; \
	done
	@for a in $(REFUSED); do \
		out=$$(GOOS=linux GOARCH=$$a CGO_ENABLED=0 go build ./internal/mem 2>&1 | grep -v '^#'); \
		echo "$$out"; \
		[ "$$(echo "$$out" | grep -c .)" = 1 ] && echo "$$out" | grep -q 'needs a 64-bit system' || \
			{ echo "linux/$$a should be refused, with one sentence"; exit 1; }; \
	done

platforms:      ## vet for the same; qemu-user (qemu-user-static), gVisor (runsc), other builds
	@for a in $(OTHERS); do echo "vet linux/$$a"; \
		GOOS=linux GOARCH=$$a CGO_ENABLED=0 go vet ./... || exit 1; \
	done
	@for a in $(EMULATED); do echo "test linux/$$a"; \
		GOOS=linux GOARCH=$$a CGO_ENABLED=0 go test $(NO_VET) -short -timeout 30m -exec $(EMULATOR) \
			-skip '$(OF_SOURCE)|$(NOT_EMULATED)' ./rcu ./sheaves ./numa \
			$$([ $$a = loong64 ] || echo ./slub) || exit 1; \
	done
	SLUBD_PLATFORMS=1 SLUBD_REQUIRE=1 go test -count=1 -timeout 20m -run '^TestImage' ./slub
	@for b in $(BUILDS); do echo "$$b"; \
		env "$$b" go test -count=1 -short $(NO_VET) -run '$(CONCURRENT)' \
			./internal/percpu ./internal/sys ./slub || exit 1; \
	done
	GOTOOLCHAIN=$(NEXT_GO) go test -race -count=1 -short $(NO_VET) -timeout 30m -run '$(CONCURRENT)' \
		./internal/percpu ./internal/sys ./slub

staticcheck:    ## staticcheck
	go run $(STATICCHECK) ./...

lint:           ## the module's own rules: import graph, placement of danger, form
	go test ./internal/lint

bench:          ## the default benchmark suite, half a minute
	go run ./cmd/slubd-bench

mistakes:       ## seeded mistakes, each of which a test must catch
	go test -v -timeout 60m ./internal/mistakes -mistake all

numa:           ## placement on virtual machines with 2 to 8 NUMA nodes, which $NUMA_VM boots
	.ci/numa all

ci:             ## everything that must pass before a change goes in
	.ci/run
