package runner

import (
	_ "embed"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/internal/testutil"
)

//go:embed testdata/shim.c
var shimSource []byte

// shim is a malloc of the tests, to be preloaded. It counts its calls, which shows that the C loops
// call the library that they are meant to measure, and can be told to exit.
type shim struct {
	library native.Library
	dir     string
	counts  string // file that children count in
}

// newShim compiles a shim. Children that this test starts from now on count in one file, and exit
// in the dieAt-th malloc of a process; 0 means never.
func newShim(t *testing.T, dieAt int) shim {
	t.Helper()
	if !native.Available {
		t.Skip(native.ErrUnavailable)
	}
	s := shim{library: native.Library{Name: "shim", File: "libshim.so", Symbol: "shim_marker"}, dir: t.TempDir()}
	s.counts = filepath.Join(s.dir, "counts")
	for path, content := range map[string][]byte{filepath.Join(s.dir, "shim.c"): shimSource, s.counts: make([]byte, 16)} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.compile(t, s.path())
	t.Setenv("SHIM_COUNTS", s.counts)
	t.Setenv("SHIM_DIE_AT", strconv.Itoa(dieAt))
	return s
}

// compile makes another library of the same code.
func (s shim) compile(t *testing.T, path string, flags ...string) {
	t.Helper()
	args := append([]string{"-O2", "-shared", "-fPIC", "-o", path, filepath.Join(s.dir, "shim.c")}, flags...)
	if out, err := exec.Command(testutil.Need(t, "gcc", "gcc"), args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
}

// path is that of the library to preload.
func (s shim) path() string { return filepath.Join(s.dir, s.library.File) }

// callCounts returns the calls of malloc and free so far, in all children.
func (s shim) callCounts(t *testing.T) (mallocs, frees int) {
	t.Helper()
	b, err := os.ReadFile(s.counts)
	if err != nil {
		t.Fatal(err)
	}
	return int(binary.LittleEndian.Uint64(b)), int(binary.LittleEndian.Uint64(b[8:]))
}
