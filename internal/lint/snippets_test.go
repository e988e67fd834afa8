package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// snippetImports are the packages that a fragment of Go in a document may use by their names alone,
// as an editor would import them. A whole file imports what it needs itself, from these.
var snippetImports = []string{
	module + "/arena", module + "/hooks", module + "/hooks/trace", module + "/metrics", module + "/numa", module + "/rcu",
	module + "/sheaves", module + "/slub", module + "/slub/debugpage", module + "/slub/profile", "github.com/prometheus/client_golang/prometheus",
	"context", "errors", "fmt", "log", "net/http", "os", "runtime", "sync", "sync/atomic", "time", "unsafe",
}

// snippet matches a block of Go in a document, behind the comment, if there is one, with what the
// fragment doesn't show: declarations that a reader can do without.
//
//	<!-- with
//	var domain *rcu.Domain
//	-->
//	```go
//	domain.Enter().Exit()
//	```
var snippet = regexp.MustCompile("(?ms)(?:^<!-- with\n(.*?)^-->\n+)?^```go\n(.*?)^```$")

// indentedGo matches what gives an indented block away as Go.
var indentedGo = regexp.MustCompile(`(?m)^    .*(:= |\bfunc *\w*\().*$`)

// snippetsCompile reports the Go in Markdown documents that doesn't compile or that gofmt would
// change, and Go that is indented instead of fenced, which would not be looked at. A fragment is
// type-checked as declarations of a package or else as the body of a function.
func snippetsCompile(root fs.FS) (f findings, err error) {
	imp, err := compiled()
	if err != nil {
		return nil, err
	}
	err = eachDocument(root, func(name, text string) {
		for _, m := range snippet.FindAllStringSubmatchIndex(text, -1) {
			hidden, code := "", text[m[4]:m[5]]
			if m[2] >= 0 {
				hidden = text[m[2]:m[3]]
			}
			err := typeCheck(imp, hidden, code)
			if formatted, _ := format.Source([]byte(code)); err == nil && string(formatted) != code {
				err = errors.New("is not as gofmt writes it")
			}
			if err != nil {
				line := 1 + strings.Count(text[:m[4]], "\n")
				f = append(f, fmt.Sprintf("%s: the Go from line %d on: %v", name, line, err))
			}
		}
		for _, line := range indentedGo.FindAllString(withoutCode(text), -1) {
			f = append(f, fmt.Sprintf("%s: Go is not in a fenced block: %s", name, strings.TrimSpace(line)))
		}
	})
	return f, err
}

// eachDocument calls do with the name and the text of each Markdown file.
func eachDocument(root fs.FS, do func(name, text string)) error {
	return fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && name != "." {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".md" {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err == nil {
			do(name, string(text))
		}
		return err
	})
}

// typeCheck returns what is wrong with a fragment, or a whole file, if anything. What is declared
// and not used is right: a fragment ends somewhere.
func typeCheck(imp types.Importer, hidden, code string) error {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", code, parser.SkipObjectResolution)
	if err != nil || hidden != "" {
		file, err = parseFragment(set, hidden, code)
	}
	if err != nil {
		return err
	}
	var problems []error
	conf := types.Config{Importer: imp, Error: func(err error) {
		if te := (types.Error{}); errors.As(err, &te) && !te.Soft {
			problems = append(problems, errors.New(te.Msg))
		}
	}}
	conf.Check(file.Name.Name, set, []*ast.File{file}, nil) // Error has been told all problems
	return errors.Join(problems...)
}

// parseFragment makes a file of a fragment and the declarations that go with it.
func parseFragment(set *token.FileSet, hidden, code string) (*ast.File, error) {
	var imports strings.Builder
	for _, p := range snippetImports {
		if regexp.MustCompile(`\b` + path.Base(p) + `\.\w`).MatchString(hidden + code) {
			fmt.Fprintf(&imports, "import %q\n", p)
		}
	}
	head := "package p\n" + imports.String() + hidden + "\n"
	file, asDeclarations := parser.ParseFile(set, "", head+code, parser.SkipObjectResolution)
	if asDeclarations == nil {
		return file, nil
	}
	return parser.ParseFile(set, "", head+"func _() {\n"+code+"}\n", parser.SkipObjectResolution)
}

// compiled returns an importer of snippetImports from the export data that the go command keeps.
var compiled = sync.OnceValues(func() (types.Importer, error) {
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Export"}, snippetImports...)
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
	}
	return importer.ForCompiler(token.NewFileSet(), runtime.Compiler, func(p string) (io.ReadCloser, error) {
		if exports[p] == "" {
			return nil, fmt.Errorf("package %s is not one of %v", p, slices.Sorted(maps.Keys(exports)))
		}
		return os.Open(exports[p])
	}), nil
})

// TestSnippetsBite runs the rule on documents with a snippet each.
func TestSnippetsBite(t *testing.T) {
	fenced := func(s string) string { return "# A\n\n```go\n" + s + "```\n" }
	for _, c := range []struct {
		name, text string
		found      string // part of the finding, "" for none
	}{
		{"statements", fenced("cache, err := slub.New(nil, slub.Config{Size: 64})\n"), ""},
		{"no such name", fenced("cache := slub.Make()\n"), "undefined: slub.Make"},
		{"wrong type", fenced("var s []byte\nslub.FreeRCU(s)\n"), "cannot use s"},
		{"declarations", fenced("type t struct{ p rcu.Pointer[int] }\n\nfunc (t *t) f() *int { return t.p.Load() }\n"), ""},
		{"bad declaration", fenced("func get() *int { return 1 }\n"), "cannot use 1"},
		{"file", fenced("package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println() }\n"), ""},
		{"file without its import", fenced("package main\n\nfunc main() { fmt.Println() }\n"), "undefined: fmt"},
		{"not formatted", fenced("var  s []byte\n"), "gofmt"},
		{"left out", fenced("use(...)\n"), "expected"},
		{"hidden", "<!-- with\nvar s []byte\n-->\n```go\nslub.FreeBytes(s)\n```\n", ""},
		{"not hidden", fenced("slub.FreeBytes(s)\n"), "undefined: s"},
		{"another language", "```\nslub.Make()\n```\n", ""},
		{"indented", "# A\n\n    p, err := slub.Malloc(70)\n", "not in a fenced block"},
		{"indented and no Go", "# A\n\n    go test ./... | grep func\n", ""},
	} {
		f, err := snippetsCompile(fstest.MapFS{"a.md": &fstest.MapFile{Data: []byte(c.text)}})
		if err != nil {
			t.Fatal(err)
		}
		if (c.found != "") != (len(f) == 1) || len(f) > 1 || !strings.Contains(strings.Join(f, ""), c.found) {
			t.Errorf("%s: found %q, should be %q", c.name, f, c.found)
		}
	}
}
