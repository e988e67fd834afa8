package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Library is a malloc that can be preloaded, and perhaps an RCU that runs on it.
type Library struct {
	Name     string // of the implementation
	File     string // soname of Debian's; empty for the C library's own malloc
	Symbol   string // exported by this library and by no other; empty if there is none
	Package  string // the Debian package that has File; empty if none has
	Versions bool   // Version knows its version, because the library has a function for that
	RCU      *RCU   // its loops run instead of malloc's; nil for allocators

	dir string // the one that -native names; empty: the system's are searched
}

// Libraries returns the libraries of the native implementations in the order of the table. If dir
// is not empty, they are all from there, except the C library.
func Libraries(dir string) []Library {
	tcmalloc := Library{Name: workload.TCMalloc, File: "libtcmalloc_minimal.so.4", Symbol: "tc_version", Package: "libtcmalloc-minimal4", Versions: true}
	urcu, ck := tcmalloc, tcmalloc
	urcu.Name, urcu.RCU = workload.URCU, newRCU(0, dir)
	ck.Name, ck.RCU = workload.CK, newRCU(1, dir)
	list := []Library{
		{Name: workload.Malloc, Versions: true},
		tcmalloc,
		{Name: workload.Mimalloc, File: "libmimalloc.so.2", Symbol: "mi_version", Package: "libmimalloc2.0", Versions: true},
		{Name: workload.Jemalloc, File: "libjemalloc.so.2", Symbol: "mallctl", Package: "libjemalloc2", Versions: true},
		{Name: workload.SNMalloc, File: "libsnmallocshim.so"},
		{Name: workload.RPMalloc, File: "librpmallocwrap.so", Symbol: "rpmalloc"},
		urcu, ck,
	}
	for i := range list {
		if list[i].File != "" {
			list[i].dir = dir
		}
	}
	return list
}

// Dirs returns the directories that are searched for libraries: those of Debian's architectures
// first, then those of other distributions.
func Dirs() []string {
	return []string{
		"/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu",
		"/usr/lib/aarch64-linux-gnu", "/lib/aarch64-linux-gnu",
		"/usr/lib64", "/usr/local/lib", "/usr/lib", "/lib64", "/lib",
	}
}

// MissingError reports a library, header or program that is not installed, or that a directory
// lacks.
type MissingError struct{ File, Package, Dir string }

func (e *MissingError) Error() string {
	switch {
	case e.Dir != "":
		return fmt.Sprintf("%s has no %s", e.Dir, e.File)
	case e.Package == "":
		return e.File + " is not installed: -native names a directory that has it"
	}
	return fmt.Sprintf("%s is not installed: apt-get install %s", e.File, e.Package)
}

// Optional reports whether the library is one that no Debian package has. Suites that don't ask for
// it by name leave it out.
func (l Library) Optional() bool { return l.File != "" && l.Package == "" }

// Find returns the path to preload: empty for the C library itself, a *MissingError if the file
// is in none of dirs, or not in the directory of -native, ErrUnavailable in a build without the C
// loops.
func (l Library) Find(dirs []string) (string, error) {
	if !Available {
		return "", ErrUnavailable
	}
	if l.File == "" {
		return "", nil
	}
	if l.dir != "" {
		return findIn(l.dir, l.File)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, l.File)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", &MissingError{File: l.File, Package: l.Package}
}

// findIn looks for a shared library in dir, and in its directories for libraries. A newer release
// may have a soname of another number, so any will do; links to one file are one.
func findIn(dir, soname string) (path string, err error) {
	stem, _, _ := strings.Cut(soname, ".so")
	var real string
	for _, sub := range []string{"", "lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"} {
		matches, err := filepath.Glob(filepath.Join(dir, sub, stem+".so*"))
		if err != nil {
			return "", fmt.Errorf("%s: %w", dir, err)
		}
		for _, match := range matches {
			target, err := filepath.EvalSymlinks(match)
			if err != nil {
				return "", fmt.Errorf("%s: %w", match, err)
			}
			switch real {
			case "":
				path, real = match, target
			case target:
			default:
				return "", fmt.Errorf("%s has two libraries: %s and %s", dir, real, target)
			}
		}
	}
	if path == "" {
		return "", &MissingError{File: stem + ".so*", Dir: dir}
	}
	return filepath.Abs(path)
}

// Loaded checks that malloc comes from the library that was to be preloaded, and returns the name
// and version that the library itself or the files beside it tell. provider is the file that malloc
// comes from, and version what Version says in that process.
func (l Library) Loaded(path, provider, version string) (string, error) {
	if path != "" {
		if err := sameFile(path, provider); err != nil {
			return "", err
		}
	}
	if !l.Versions {
		version = l.Name + " " + fileVersion(path, l.Name)
	}
	return version, nil
}

// errNotLoaded reports another library than the one that was to be loaded.
var errNotLoaded = errors.New("is not what is loaded")

func sameFile(path, loaded string) error {
	want, err := os.Stat(path)
	if err != nil {
		return err
	}
	if got, err := os.Stat(loaded); err != nil || !os.SameFile(want, got) {
		return fmt.Errorf("%s %w: that is %s", path, errNotLoaded, loaded)
	}
	return nil
}

// fileVersion returns the version that the pkg-config file of a library tells, or else the name of
// the file that its links lead to.
func fileVersion(path, name string) string {
	for _, pc := range []string{name, "lib" + name} {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "pkgconfig", pc+".pc"))
		for line := range strings.Lines(string(text)) {
			if version, ok := strings.CutPrefix(line, "Version:"); err == nil && ok {
				return strings.TrimSpace(version)
			}
		}
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	return "(" + filepath.Base(path) + ")"
}

// Describe says which library the implementation would use, or what is missing.
func (l Library) Describe(dirs []string) string {
	path, err := l.Find(dirs)
	if err == nil && l.RCU != nil {
		err = l.RCU.Check()
	}
	switch {
	case err != nil:
		return err.Error()
	case path == "":
		return "the C library's malloc, C loops"
	case l.RCU != nil:
		return l.RCU.About + " with " + path + ", C loops"
	}
	return path + ", C loops"
}
