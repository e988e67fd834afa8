package runner

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/loops"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// need skips the test if a package is missing, or fails it if SLUBD_REQUIRE is set.
func need(t *testing.T, err error) {
	t.Helper()
	var missing *native.MissingError
	switch {
	case err == nil:
	case errors.As(err, &missing) && os.Getenv("SLUBD_REQUIRE") != "1":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// TestRCUMatchesSlubd checks that a native RCU goes through as many sections as slubd does and
// reads the same, and that it allocates the right number of objects. It also frees them all, or its
// child would die.
func TestRCUMatchesSlubd(t *testing.T) {
	for _, library := range native.Libraries("") {
		if library.RCU == nil {
			continue
		}
		t.Run(library.Name, func(t *testing.T) {
			shim := newShim(t, 0)
			path, err := library.RCU.Compile(t.TempDir())
			need(t, err)
			p := start(t, shim.path(), path)
			if _, err := p.call(within(t, time.Minute), request{Op: opLoad, Path: path}); err != nil {
				t.Fatal(err)
			}
			for _, w := range workload.Catalog() {
				if !w.Has(library.Name) {
					continue
				}
				for _, threads := range []int{1, 2} {
					spec := w.Spec(threads, 64, 1).WithOps(20_000)
					if w.Kind.ByPeriod() {
						spec = spec.WithOps(10)
					}
					mallocs, frees := shim.callCounts(t)
					a, err := p.call(within(t, time.Minute), request{Op: opRun, Spec: spec})
					if err != nil || a.Sample.Value <= 0 {
						t.Fatalf("%s, %d threads: %+v, %v", w.Name, threads, a.Sample, err)
					}
					mallocsAfter, freesAfter := shim.callCounts(t)
					if w.Kind == workload.FreeRCUFlood {
						objects, overhead := (spec.Ops+spec.Warm)*threads, 200
						if n := mallocsAfter - mallocs; n < objects || n > objects+overhead {
							t.Errorf("%s: %d calls of malloc for %d objects", w.Name, n, objects)
						}
						if n := freesAfter - frees; n < objects || n > objects+overhead {
							t.Errorf("%s: %d calls of free for %d objects", w.Name, n, objects)
						}
						continue
					}
					if want := checksum(t, spec); a.Sample.Checksum != want {
						t.Errorf("%s, %d threads: checksum %d, slubd's is %d", w.Name, threads, a.Sample.Checksum, want)
					}
				}
			}
			if _, err := p.call(within(t, time.Minute), request{Op: opRun, Spec: pair}); err == nil {
				t.Error("a child with an RCU library runs malloc's loops")
			}
		})
	}
}

// checksum returns slubd's.
func checksum(t *testing.T, spec workload.Spec) uint64 {
	t.Helper()
	s, err := loops.Open(workload.Slubd, spec)
	if err != nil {
		t.Fatal(err)
	}
	sample, err := s.Run(spec)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return sample.Checksum
}
