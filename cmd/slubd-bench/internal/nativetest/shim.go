// Package nativetest builds a malloc of the tests' own, to be preloaded: it
// counts its calls, which proves that the C loops reach the library they are
// meant to measure, and dies on demand.
package nativetest

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
var source []byte

// Shim is a built library with the file that its children count in.
type Shim struct {
	Library native.Library
	Dir     string
	counts  string
}

// New compiles the shim. Children started by this test from now on count in
// one file, and die in the dieAt-th malloc of a process; 0 is never.
func New(t *testing.T, dieAt int) Shim {
	t.Helper()
	if !native.Available {
		t.Skip(native.ErrUnavailable)
	}
	gcc := testutil.Need(t, "gcc", "gcc")
	s := Shim{Library: native.Library{Alloc: "shim", File: "libshim.so", Symbol: "shim_marker"}, Dir: t.TempDir()}
	code := filepath.Join(s.Dir, "shim.c")
	s.counts = filepath.Join(s.Dir, "counts")
	for path, content := range map[string][]byte{code: source, s.counts: make([]byte, 16)} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(gcc, "-O2", "-shared", "-fPIC", "-o", s.Path(), code).CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	t.Setenv("SHIM_COUNTS", s.counts)
	t.Setenv("SHIM_DIE_AT", strconv.Itoa(dieAt))
	return s
}

// Path is the library to preload.
func (s Shim) Path() string { return filepath.Join(s.Dir, s.Library.File) }

// Counts returns the calls of malloc and free so far, in all children.
func (s Shim) Counts(t *testing.T) (mallocs, frees int) {
	t.Helper()
	b, err := os.ReadFile(s.counts)
	if err != nil {
		t.Fatal(err)
	}
	return int(binary.LittleEndian.Uint64(b)), int(binary.LittleEndian.Uint64(b[8:]))
}
