package native

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

func TestMissingHeaderErrorNamesPackage(t *testing.T) {
	for i := range rcus {
		r := rcus[i]
		r.header = "slubd/no-such-header.h"
		var missing *MissingError
		_, err := r.Compile(t.TempDir())
		if !errors.As(err, &missing) || missing.Package != r.Package && missing.Package != "gcc" {
			t.Errorf("%v without its header: %v", r.sources, err)
		}
		t.Setenv("CC", "no-such-compiler")
		if err := r.Check(); !errors.As(err, &missing) || missing.Package != "gcc" {
			t.Errorf("%v without a compiler: %v", r.sources, err)
		}
		t.Setenv("CC", "")
	}
}

// build compiles an RCU library with additional flags. If a package is missing, the test is
// skipped, or fails if SLUBD_REQUIRE is set.
func build(t *testing.T, r *RCU, more ...string) (path string) {
	t.Helper()
	path, err := r.compile(t.TempDir(), append(slices.Clone(flags), more...))
	var missing *MissingError
	if errors.As(err, &missing) && os.Getenv("SLUBD_REQUIRE") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRCUAccessesThreadLocalsDirectly checks that no section calls __tls_get_addr, since a program
// that is linked with the library does not call it either.
func TestRCUAccessesThreadLocalsDirectly(t *testing.T) {
	for i := range rcus {
		t.Run(rcus[i].About, func(t *testing.T) {
			f, err := elf.Open(build(t, &rcus[i]))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			symbols, err := f.ImportedSymbols()
			if err != nil || len(symbols) == 0 {
				t.Fatalf("imports %v, %v", symbols, err)
			}
			for _, s := range symbols {
				if s.Name == "__tls_get_addr" {
					t.Error("thread-local variables are reached by calls")
				}
			}
		})
	}
}

func TestRCUCompilesWithoutWarnings(t *testing.T) {
	for i := range rcus {
		t.Run(rcus[i].About, func(t *testing.T) { build(t, &rcus[i], "-Werror") })
	}
}

func TestLoopsCompileWithoutWarnings(t *testing.T) {
	gcc := testutil.Need(t, "gcc", "gcc")
	files, err := filepath.Glob("*.c")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	// The flags of native_cgo.go; some warnings need the optimizer.
	args := append([]string{"-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-S", "-o", os.DevNull}, "")
	for _, file := range files {
		args[len(args)-1] = file
		if out, err := exec.Command(gcc, args...).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

func TestCompilerErrorIsReported(t *testing.T) {
	if _, err := compiler(); err != nil {
		t.Skip(err)
	}
	r := RCU{sources: []string{"ck.c"}, header: "stdio.h", libs: []string{"no-such-library"}}
	_, err := r.Compile(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "compiling ck.c") || !strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}

// TestBrokenCompilerIsNotMissingHeader has a compiler that fails for another reason.
func TestBrokenCompilerIsNotMissingHeader(t *testing.T) {
	script := filepath.Join(t.TempDir(), "cc")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho out of order: $1 >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CC", script+" first")
	err := rcus[0].Check()
	if errors.As(err, new(*MissingError)) || err == nil || !strings.Contains(err.Error(), "out of order: first") {
		t.Errorf("%v", err)
	}
}

func TestCompilerOfSeveralWords(t *testing.T) {
	t.Setenv("CC", "env gcc")
	if cc, err := compiler(); err != nil || len(cc) != 2 || cc[1] != "gcc" {
		t.Errorf("%v, %v", cc, err)
	}
}

func TestLoadOfInvalidLibrary(t *testing.T) {
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
