package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Exported functions and methods begin with the call, and others, and those without room for it, do
// not. Line numbers stay.
func TestInstrument(t *testing.T) {
	name, got, err := instrument("a.go", []byte(`package a

func F() int { return 1 }

// M does it.
func (t *T) M() {
	f()
}

func f() {}

// N is short.
//
//go:nosplit
func N() {}

func Asm()
`))
	const want = `package a

func F() int { mayMove();  return 1 }

// M does it.
func (t *T) M() { mayMove(); 
	f()
}

func f() {}

// N is short.
//
//go:nosplit
func N() {}

func Asm()
`
	if err != nil || name != "a" || string(got) != want {
		t.Errorf("package %s, %v:\n%s", name, err, got)
	}
}

// The overlay replaces each file of a package but its tests, and adds one.
func TestRun(t *testing.T) {
	pkg, dir := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"a.go": "package a\nfunc F() {}\n", "a_test.go": "package a\n"} {
		if err := os.WriteFile(filepath.Join(pkg, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(dir, []string{pkg}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "overlay.json"))
	if err != nil {
		t.Fatal(err)
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &overlay); err != nil {
		t.Fatal(err)
	}
	if len(overlay.Replace) != 2 {
		t.Errorf("%v is replaced", overlay.Replace)
	}
	for _, name := range []string{"a.go", "may_move.go"} {
		if _, err := os.Stat(overlay.Replace[filepath.Join(pkg, name)]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := run(dir, []string{t.TempDir()}); err == nil {
		t.Error("a directory without Go files is no error")
	}
}
