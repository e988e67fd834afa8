// Command moves makes an overlay (go help build) in which the exported functions of the given
// packages begin with a call that may move their goroutine to another CPU:
//
//	moves DIRECTORY PACKAGE...
//
// It writes the files to the directory, and their description to overlay.json there.
//
// The kernel moves a thread whenever it likes, but seldom between two given operations. A test that
// looks for an object on the CPU on which it was freed fails once in some thousand runs, and only
// on a busy machine. In this build it fails within a few. `.ci/moved` runs the tests so.
//
// # Place in the data flow
//
//	files of the module -> [moves] -> overlay.json -> go test -overlay
//
// # Locks
//
// None. What it adds to the packages binds the goroutine to its thread while it changes the
// thread's CPUs, and leaves a thread alone that may use one CPU only.
//
// # Not allowed
//
// No package may import it, and nothing of it is in a program that users build.
package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("moves: ")
	if len(os.Args) < 3 {
		log.Fatal("usage: moves DIRECTORY PACKAGE...")
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

// run writes the overlay of the packages, whose directories are given, to dir.
func run(dir string, packages []string) error {
	replace := map[string]string{}
	for i, pkg := range packages {
		files, err := filepath.Glob(filepath.Join(pkg, "*.go"))
		if err != nil {
			return err
		}
		files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
		if len(files) == 0 {
			return fmt.Errorf("no Go files in %s", pkg)
		}
		write := func(file string, text []byte) error {
			real, err := filepath.Abs(file)
			if err != nil {
				return err
			}
			replace[real] = filepath.Join(dir, fmt.Sprintf("%d-%s", i, filepath.Base(file)))
			return os.WriteFile(replace[real], text, 0o644)
		}
		var name string
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			var changed []byte
			if name, changed, err = instrument(file, source); err != nil {
				return err
			}
			if err := write(file, changed); err != nil {
				return err
			}
		}
		if err := write(filepath.Join(pkg, "may_move.go"), []byte("package "+name+mayMove)); err != nil {
			return err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o644)
}

// instrument returns the name of the file's package, and the file with a call of mayMove at the
// beginning of every exported function that has a stack for it. No line moves to another number.
func instrument(file string, source []byte) (name string, changed []byte, err error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, source, parser.ParseComments)
	if err != nil {
		return "", nil, err
	}
	done := 0
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil || !f.Name.IsExported() || mustNotCall(f) {
			continue
		}
		at := fset.Position(f.Body.Lbrace).Offset + 1
		changed = append(append(changed, source[done:at]...), " mayMove(); "...)
		done = at
	}
	return parsed.Name.Name, append(changed, source[done:]...), nil
}

// mustNotCall reports whether a function has no stack for a call.
func mustNotCall(f *ast.FuncDecl) bool {
	if f.Doc == nil {
		return false
	}
	return slices.ContainsFunc(f.Doc.List, func(c *ast.Comment) bool { return c.Text == "//go:nosplit" })
}

// mayMove is what the packages get. One call in four moves, to a CPU that is drawn. It allocates
// nothing. The thread may use all of its CPUs again afterwards, and stays where it is until the
// kernel moves it.
const mayMove = `

import (
	"math/rand/v2"
	"runtime"

	"golang.org/x/sys/unix"
)

func mayMove() {
	if rand.IntN(4) != 0 {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil || all.Count() < 2 {
		return
	}
	for cpu, nth := 0, rand.IntN(all.Count()); ; cpu++ {
		if !all.IsSet(cpu) {
			continue
		}
		if nth == 0 {
			one.Set(cpu)
			break
		}
		nth--
	}
	_ = unix.SchedSetaffinity(0, &one)
	_ = unix.SchedSetaffinity(0, &all)
}
`
