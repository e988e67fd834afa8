package native

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Library is a malloc that can be preloaded.
type Library struct {
	Alloc   string // name in the results
	File    string // soname; empty for the C library's own malloc
	Symbol  string // exported by this library and by no other
	Package string // Debian's, to be named when File is missing
}

// Libraries returns the native allocators in the order of the table.
func Libraries() []Library {
	return []Library{
		{Alloc: workload.Malloc},
		{Alloc: workload.TCMalloc, File: "libtcmalloc_minimal.so.4", Symbol: "tc_version", Package: "libtcmalloc-minimal4"},
		{Alloc: workload.Mimalloc, File: "libmimalloc.so.2", Symbol: "mi_version", Package: "libmimalloc2.0"},
		{Alloc: workload.Jemalloc, File: "libjemalloc.so.2", Symbol: "mallctl", Package: "libjemalloc2"},
	}
}

// Dirs returns where shared libraries are looked for: the directories of
// Debian's architectures first, then those of everybody else.
func Dirs() []string {
	return []string{
		"/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu",
		"/usr/lib/aarch64-linux-gnu", "/lib/aarch64-linux-gnu",
		"/usr/lib64", "/usr/local/lib", "/usr/lib", "/lib64", "/lib",
	}
}

// MissingError reports a library that is not installed.
type MissingError struct{ Library }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed: apt-get install %s", e.File, e.Package)
}

// Find returns the path to preload: empty for the C library itself, a
// *MissingError when the file is in none of dirs, ErrUnavailable in a build
// without the C loops.
func (l Library) Find(dirs []string) (string, error) {
	if !Available {
		return "", ErrUnavailable
	}
	if l.File == "" {
		return "", nil
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, l.File)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", &MissingError{l}
}
