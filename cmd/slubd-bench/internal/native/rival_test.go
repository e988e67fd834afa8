package native

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRivalsNameWhatIsMissing(t *testing.T) {
	for i := range rivals {
		r := rivals[i]
		r.header = "slubd/no-such-header.h"
		var missing *MissingError
		if _, err := r.Compile(t.TempDir()); !errors.As(err, &missing) || missing.Package != r.Package && missing.Package != "gcc" {
			t.Errorf("%s without its header: %v", r.source, err)
		}
		t.Setenv("CC", "no-such-compiler")
		if err := r.Check(); !errors.As(err, &missing) || missing.Package != "gcc" {
			t.Errorf("%s without a compiler: %v", r.source, err)
		}
		t.Setenv("CC", "")
	}
}

func TestACompilersErrorIsTold(t *testing.T) {
	if _, err := compiler(); err != nil {
		t.Skip(err)
	}
	r := Rival{source: "ck.c", header: "stdio.h", libs: []string{"no-such-library"}}
	if _, err := r.Compile(t.TempDir()); err == nil || !strings.Contains(err.Error(), "compiling ck.c") {
		t.Errorf("%v", err)
	}
}

func TestLoadRefusesWhatIsNoRival(t *testing.T) {
	if !Available {
		t.Skip(ErrUnavailable)
	}
	path := filepath.Join(t.TempDir(), "x.so")
	if err := os.WriteFile(path, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}
