//go:build cgo && linux

package runner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// of is a Config for the libraries of dir.
func of(dir string, names ...string) Config {
	cfg := brief(names...)
	cfg.Libraries, cfg.Strict = native.Libraries(dir), true
	return cfg
}

// TestLibraryOfDirectoryIsLoaded makes a jemalloc of a version that doesn't exist, which counts its
// calls.
func TestLibraryOfDirectoryIsLoaded(t *testing.T) {
	shim, dir := newShim(t, 0), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o700); err != nil {
		t.Fatal(err)
	}
	shim.compile(t, filepath.Join(dir, "lib", "libjemalloc.so.9"), `-DJEMALLOC="97.5.3-0-gabc"`)
	r, err := Run(t.Context(), plan("^pair$", 1), of(dir, workload.Malloc, workload.Jemalloc))
	if err != nil || len(r.Results) != 2 || len(r.Failures) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if v := r.Versions[workload.Jemalloc]; v != "jemalloc 97.5.3" {
		t.Errorf("what is loaded is of version %q", v)
	}
	pairs := r.Results[1].Ops * r.Results[1].N
	if mallocs, _ := shim.callCounts(t); r.Results[1].Alloc != workload.Jemalloc || mallocs < pairs {
		t.Errorf("%s: %d calls of the directory's malloc in %d pairs", r.Results[1].Alloc, mallocs, pairs)
	}
}

func TestLibraryWithoutVersionIsNamedByItsFile(t *testing.T) {
	shim, dir := newShim(t, 0), t.TempDir()
	shim.compile(t, filepath.Join(dir, "libsnmallocshim.so.7.5"))
	r, err := Run(t.Context(), plan("^pair$", 1), of(dir, workload.SNMalloc))
	if v := r.Versions[workload.SNMalloc]; err != nil || v != "snmalloc (libsnmallocshim.so.7.5)" {
		t.Errorf("%q, %v", v, err)
	}
}

// TestErrorNamesEachLibrary has a directory in which libraries are missing, are no libraries, or
// are others than their names say.
func TestErrorNamesEachLibrary(t *testing.T) {
	shim, dir := newShim(t, 0), t.TempDir()
	shim.compile(t, filepath.Join(dir, "libjemalloc.so.2")) // without mallctl
	broken := filepath.Join(dir, "libmimalloc.so.3")
	if err := os.WriteFile(broken, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := of(dir, workload.Slubd, workload.TCMalloc, workload.Mimalloc, workload.Jemalloc, workload.URCU)
	r, err := Run(t.Context(), plan("^(pair|rcu-enter)$", 1), cfg)
	if !errors.Is(err, ErrLibrary) || len(r.Results) != 0 || len(r.Missing) != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	lines := strings.Split(err.Error(), "\n")
	for _, want := range []string{
		"native library of tcmalloc: " + dir + " has no libtcmalloc_minimal.so*",
		"native library of mimalloc: LD_PRELOAD had no effect",
		"native library of jemalloc: LD_PRELOAD had no effect",
		"native library of urcu: " + dir + " has no libtcmalloc_minimal.so*",
	} {
		found := false
		for _, line := range lines {
			found = found || strings.HasPrefix(line, want)
		}
		if !found {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if !strings.Contains(err.Error(), broken) {
		t.Errorf("%s is not named in\n%v", broken, err)
	}
}
