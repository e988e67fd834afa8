package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/slubd/slubd"

// source is one file of a tree.
type source struct {
	name string    // slash-separated, from the module's root
	text []byte    // as on disk
	ast  *ast.File // nil for other than Go files
}

func (s *source) dir() string  { return path.Dir(s.name) }
func (s *source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }
func (s *source) isGo() bool   { return s.ast != nil }

// in reports whether the file lies in dir or below it.
func (s *source) in(dir string) bool { return s.dir() == dir || strings.HasPrefix(s.name, dir+"/") }

// imports lists the import paths of a Go file.
func (s *source) imports() []string {
	if !s.isGo() {
		return nil
	}
	var paths []string
	for _, spec := range s.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has checked the literal
		}
		paths = append(paths, p)
	}
	return paths
}

// tree is a module's sources in lexical order.
type tree []*source

// dirs lists the directories that hold Go files, in lexical order.
func (t tree) dirs() []string {
	var dirs []string
	for _, s := range t {
		if s.isGo() {
			dirs = append(dirs, s.dir())
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// sourceExt are the kinds of file that rules look at; "" is Makefile and
// scripts.
var sourceExt = []string{".go", ".s", ".S", ".c", ".h", ".cc", ".cpp", ".sh", ""}

// load reads and parses the sources below root. It leaves out what the go
// command leaves out, except that .ci is ours.
func load(root fs.FS) (tree, error) {
	var t tree
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if hidden := strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_"); hidden && name != "." && name != ".ci" {
				return fs.SkipDir
			}
			if d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if !slices.Contains(sourceExt, path.Ext(name)) {
			return nil
		}
		s := &source{name: name}
		if s.text, err = fs.ReadFile(root, name); err != nil {
			return err
		}
		if path.Ext(name) == ".go" {
			if s.ast, err = parser.ParseFile(token.NewFileSet(), name, s.text, parser.ParseComments); err != nil {
				return err
			}
		}
		t = append(t, s)
		return nil
	})
	return t, err
}

// fake parses a tree given as file names and texts.
func fake(t *testing.T, files map[string]string) tree {
	t.Helper()
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tr, err := load(m)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// findings collects what rules object to.
type findings []string

func (f *findings) add(s *source, format string, args ...any) {
	*f = append(*f, s.name+": "+fmt.Sprintf(format, args...))
}
