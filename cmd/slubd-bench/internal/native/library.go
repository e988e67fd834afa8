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
	Rival   *Rival // what runs on this malloc in place of its own loops; nil for allocators
}

// Libraries returns the native allocators and rivals in the order of the table.
func Libraries() []Library {
	tcmalloc := Library{Alloc: workload.TCMalloc, File: "libtcmalloc_minimal.so.4", Symbol: "tc_version", Package: "libtcmalloc-minimal4"}
	urcu, ck := tcmalloc, tcmalloc
	urcu.Alloc, urcu.Rival = workload.URCU, &rivals[0]
	ck.Alloc, ck.Rival = workload.CK, &rivals[1]
	return []Library{
		{Alloc: workload.Malloc},
		tcmalloc,
		{Alloc: workload.Mimalloc, File: "libmimalloc.so.2", Symbol: "mi_version", Package: "libmimalloc2.0"},
		{Alloc: workload.Jemalloc, File: "libjemalloc.so.2", Symbol: "mallctl", Package: "libjemalloc2"},
		urcu, ck,
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

// MissingError reports a library, header or program that is not installed.
type MissingError struct{ File, Package string }

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
	return "", &MissingError{l.File, l.Package}
}
