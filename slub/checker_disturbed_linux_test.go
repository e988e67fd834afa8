package slub_test

import (
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"
)

// TestCheckerDisturbed: GOMAXPROCS changes between 1 and 64 while the workers run, and a CPU
// profile samples them ten thousand times a second, wherever they are, inside sequences too.
func TestCheckerDisturbed(t *testing.T) {
	procs := every(time.Millisecond, func() { runtime.GOMAXPROCS(1 + rand.IntN(64)) })
	samples := every(100*time.Microsecond, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGPROF) })
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Skip(err) // go test -cpuprofile
	}
	defer pprof.StopCPUProfile()
	plan{kinds: everyKind, percent: 10, menu: everyOp, beside: []func(chan struct{}){procs, samples}}.run(t)
}
