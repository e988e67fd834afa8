package native

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestEveryLoopRuns(t *testing.T) {
	if !Available {
		t.Skip(ErrUnavailable)
	}
	for _, w := range workload.Catalog() {
		for _, threads := range []int{1, 2} {
			if !w.Has(workload.Malloc) || w.Kind.Paired() && threads == 1 {
				continue
			}
			s, err := Run(w.Spec(threads, 64, 1).Small().WithOps(1000))
			if err != nil || s.Value <= 0 || s.Elapsed <= 0 {
				t.Errorf("%s, %d threads: %+v, %v", w.Name, threads, s, err)
			}
		}
	}
}

func TestRunRefusesInvalidSpecs(t *testing.T) {
	for _, s := range []workload.Spec{
		{Kind: workload.RCU, Threads: 1, Ops: 1},
		{Kind: workload.Pair, Threads: 0, Ops: 1},
		{Kind: workload.Pair, Threads: 1, Ops: 0},
		{Kind: workload.Batch, Threads: 1, Ops: 1},
		{Kind: workload.Mix, Threads: 1, Ops: 1},
		{Kind: workload.Xfer, Threads: 3, Ops: 64, Batch: 64},
		{Kind: workload.Xfer, Threads: 2, Ops: 64, Batch: 65},
		{Kind: workload.Larson, Threads: 1, Ops: 1, Live: 1},
		{Kind: workload.SH8, Threads: 1, Ops: 2, Batch: 3, Live: 1},
		{Kind: workload.XMalloc, Threads: 2, Ops: 64, Batch: 64},
		{Kind: workload.CacheThrash, Threads: 1, Ops: 1, Size: 4},
		{Kind: workload.Pair, Threads: 1, Ops: 1, CPUs: []int{-1}},
		{Kind: workload.Pair, Threads: 1, Ops: 1, CPUs: []int{0, 8192}},
		{Kind: workload.Pair, Threads: 1, Ops: 100, Chunk: 64},
		{Kind: workload.RCURead, Threads: 1, Ops: 1024, Batch: 1024}, // without an RCU library
	} {
		if _, err := Run(s); err == nil {
			t.Errorf("%+v: no error", s)
		}
	}
}

func TestVerifyReportsWrongMalloc(t *testing.T) {
	if !Available {
		t.Skip(ErrUnavailable)
	}
	if path, err := Verify(""); err != nil || path == "" {
		t.Errorf("nothing is preloaded: %q, %v", path, err)
	}
	for _, l := range Libraries("") {
		if l.Symbol == "" || l.RCU != nil {
			continue
		}
		if _, err := Verify(l.Symbol); err == nil || !strings.Contains(err.Error(), "LD_PRELOAD") {
			t.Errorf("%s is not preloaded: %v", l.Name, err)
		}
	}
}

func TestVersions(t *testing.T) {
	for name, version := range map[string]string{"malloc": Version(), "compiler": Compiler()} {
		if known := regexp.MustCompile(`^(glibc|gcc|clang) \d+\.\d+`).MatchString(version); known != Available {
			t.Errorf("%s: %q", name, version)
		}
	}
}

func TestMissingLibraryErrorNamesPackage(t *testing.T) {
	packages := map[string]string{
		workload.TCMalloc: "libtcmalloc-minimal4",
		workload.Mimalloc: "libmimalloc2.0",
		workload.Jemalloc: "libjemalloc2",
		workload.URCU:     "libtcmalloc-minimal4",
		workload.CK:       "libtcmalloc-minimal4",
	}
	var names []string
	for _, l := range Libraries("") {
		names = append(names, l.Name)
		_, err := l.Find([]string{t.TempDir()})
		var missing *MissingError
		switch want := packages[l.Name]; {
		case !Available:
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s without cgo: %v", l.Name, err)
			}
		case l.Optional():
			if !errors.As(err, &missing) || !strings.HasSuffix(err.Error(), "-native names a directory that has it") {
				t.Errorf("%s: %v", l.Name, err)
			}
		case want == "":
			if err != nil {
				t.Errorf("%s: %v", l.Name, err)
			}
		case !errors.As(err, &missing) || !strings.HasSuffix(err.Error(), "apt-get install "+want):
			t.Errorf("%s: %v", l.Name, err)
		}
	}
	want := slices.DeleteFunc(workload.Allocators(), func(a string) bool { return !workload.Native(a) })
	if want = append(want, workload.URCU, workload.CK); !slices.Equal(names, want) {
		t.Errorf("the native implementations are %v, not %v", names, want)
	}
}
