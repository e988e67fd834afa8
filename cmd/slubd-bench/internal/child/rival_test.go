package child

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/loops"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/nativetest"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// need reports a missing package: the test is skipped, or fails if nothing may be missing.
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

// A rival goes through as many sections, and finds the same, as slubd does; it allocates as
// many objects as it is told, and frees them all, or its child would die.
func TestRivalsDoTheSame(t *testing.T) {
	for _, library := range native.Libraries() {
		if library.Rival == nil {
			continue
		}
		t.Run(library.Alloc, func(t *testing.T) {
			shim := nativetest.New(t, 0)
			path, err := library.Rival.Compile(t.TempDir())
			need(t, err)
			p := start(t, shim.Path(), path)
			if _, err := p.Call(within(t, time.Minute), Request{Op: Load, Path: path}); err != nil {
				t.Fatal(err)
			}
			for _, w := range workload.Catalog() {
				if !w.Has(library.Alloc) {
					continue
				}
				for _, threads := range []int{1, 2} {
					spec := w.Spec(threads, 64, 1).WithOps(20_000)
					if w.Kind.ByPeriod() {
						spec = spec.WithOps(10)
					}
					mallocs, frees := shim.Counts(t)
					a, err := p.Call(within(t, time.Minute), Request{Op: Run, Spec: spec})
					if err != nil || a.Sample.Value <= 0 {
						t.Fatalf("%s, %d threads: %+v, %v", w.Name, threads, a.Sample, err)
					}
					mallocsAfter, freesAfter := shim.Counts(t)
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
			if _, err := p.Call(within(t, time.Minute), Request{Op: Run, Spec: pair}); err == nil {
				t.Error("a child with a rival runs malloc's loops")
			}
		})
	}
}

// checksum is that of slubd.
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
