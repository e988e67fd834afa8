package native

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// place writes files into a directory of the test's, and makes links of those with a ->.
func place(t *testing.T, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range names {
		name, target, link := strings.Cut(name, "->")
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil && link {
			err = os.Symlink(target, path)
		} else if err == nil {
			err = os.WriteFile(path, []byte("Name: x\nVersion: 9.8\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindInDirectory(t *testing.T) {
	for _, c := range []struct {
		files []string
		want  string // below the directory; empty: an error with text
		text  string
	}{
		{files: []string{"libmimalloc.so.3"}, want: "libmimalloc.so.3"},
		{files: []string{"lib/libmimalloc.so.2"}, want: "lib/libmimalloc.so.2"},
		{files: []string{"lib64/libmimalloc.so.3.4", "lib64/libmimalloc.so.3->libmimalloc.so.3.4", "lib64/libmimalloc.so->libmimalloc.so.3"},
			want: "lib64/libmimalloc.so"},
		{files: []string{"lib/libjemalloc.so.2", "libmimalloc-debug.so.3"}, text: "has no libmimalloc.so*"},
		{files: []string{"libmimalloc.so.2", "lib/libmimalloc.so.3"}, text: "has two libraries"},
		{files: []string{"libmimalloc.so->libmimalloc.so.3"}, text: "libmimalloc.so.3: no such file"},
	} {
		dir := place(t, c.files...)
		got, err := findIn(dir, "libmimalloc.so.2")
		switch {
		case c.want != "" && (err != nil || got != filepath.Join(dir, c.want)):
			t.Errorf("%v: %s, %v", c.files, got, err)
		case c.want == "" && (err == nil || !strings.Contains(err.Error(), c.text)):
			t.Errorf("%v: %s, %v, want an error with %q", c.files, got, err, c.text)
		}
	}
}

// TestDirectoryReplacesTheSystem checks that nothing but the C library is looked for elsewhere, and
// that an error names directory and file.
func TestDirectoryReplacesTheSystem(t *testing.T) {
	dir := t.TempDir()
	for _, l := range Libraries(dir) {
		path, err := l.Find(Dirs())
		var missing *MissingError
		switch {
		case !Available:
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s without cgo: %v", l.Name, err)
			}
		case l.Name == workload.Malloc:
			if path != "" || err != nil {
				t.Errorf("the C library: %q, %v", path, err)
			}
		case !errors.As(err, &missing) || !strings.HasPrefix(err.Error(), dir+" has no lib"):
			t.Errorf("%s: %q, %v", l.Name, path, err)
		}
		if l.RCU == nil {
			continue
		}
		if _, err := l.RCU.Compile(t.TempDir()); !errors.As(err, &missing) || !strings.HasPrefix(err.Error(), dir+" has no include/") {
			t.Errorf("%s: %v", l.Name, err)
		}
	}
}

func TestLoadedIsTheLibraryThatWasFound(t *testing.T) {
	dir := place(t, "lib/libx.so.1.2", "lib/libx.so->libx.so.1.2", "lib/liby.so", "lib/pkgconfig/liby.pc")
	x, y := filepath.Join(dir, "lib/libx.so"), filepath.Join(dir, "lib/liby.so")
	for _, c := range []struct {
		library               Library
		path, provider, tells string
		want                  string
	}{
		{Library{Name: "x", Versions: true}, x, x, "x 3.4.3", "x 3.4.3"},
		{Library{Name: "x", Versions: true}, x, filepath.Join(dir, "lib/libx.so.1.2"), "x 1", "x 1"},
		{Library{Name: "x"}, x, x, "glibc 2.36", "x (libx.so.1.2)"},
		{Library{Name: "y"}, y, y, "glibc 2.36", "y 9.8"},
		{Library{Name: "malloc", Versions: true}, "", "/lib/libc.so.6", "glibc 2.36", "glibc 2.36"},
	} {
		if got, err := c.library.Loaded(c.path, c.provider, c.tells); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	for _, provider := range []string{y, "", filepath.Join(dir, "none.so")} {
		if got, err := (Library{Name: "x"}).Loaded(x, provider, "x 1"); !errors.Is(err, errNotLoaded) || !strings.Contains(err.Error(), x) {
			t.Errorf("malloc is that of %q: %q, %v", provider, got, err)
		}
	}
}

func TestLoadedRCUIsThatOfTheDirectory(t *testing.T) {
	dir := place(t, "lib/libck.so.0", "lib/pkgconfig/ck.pc")
	ck := newRCU(1, dir)
	if got, err := ck.Loaded(filepath.Join(dir, "lib/libck.so.0")); err != nil || got != "ck_epoch 9.8" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := ck.Loaded(filepath.Join(dir, "lib/pkgconfig/ck.pc")); !errors.Is(err, errNotLoaded) {
		t.Errorf("of another file: %q, %v", got, err)
	}
	if got, err := newRCU(1, "").Loaded(filepath.Join(dir, "lib/libck.so.0")); err != nil || got != "ck_epoch 9.8" {
		t.Errorf("the system's: %q, %v", got, err)
	}
}
