package mistakes

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a test needs stays, in both packages of a directory and through any number of files, and
// so does what runs before any test.
func TestReduced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name+"_test.go"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a":          "package p_test\n\nfunc TestA() { helper[int]() }\n\n// B\nfunc TestB() { var x p.Exported; x.extended() }\n",
		"helper":     "package p_test\nfunc helper[T any]() { other := table; _ = other }\n",
		"table":      "package p_test\ntype row[T any] struct{}\nconst other = 1\nvar table = row[int]{}\n",
		"methods":    "package p_test\nimport (\n\"fmt\"\n\"math/rand/v2\"\n)\nfunc (*row[T]) String() string { return fmt.Sprint(limit) }\nfunc (row[T]) B() int { return rand.Int() }\n",
		"limit":      "package p_test\nimport \"fmt\"\nvar limit = 7\nvar name = fmt.Sprint(limit)\n",
		"export":     "package p\nimport _ \"embed\"\ntype Exported = inner\nfunc helper() {}\n",
		"extend":     "package p\nfunc (inner) extended() { _ = constant }\nfunc (inner) B() {}\n",
		"constant":   "package p\nconst (\nconstant = 3\n)\n",
		"init":       "package p_test\nfunc init() { fromInit() }\n",
		"init_calls": "package p_test\nfunc fromInit() {}\n",
		"tagged":     "//go:build tagged\n\npackage p\nfunc TestT() {}\n",
		"elsewhere":  "//go:build !linux && linux\n\npackage p\nfunc TestA() {}\n",
	} {
		write(name, text)
	}
	s, err := parseSuite(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	before := []string{"init: func init() { fromInit() }", "init_calls: func fromInit() {}"}
	for test, want := range map[string][]string{
		"TestA": {
			"a: func TestA() { helper[int]() }",
			"helper: func helper[T any]() { other := table; _ = other }",
			"limit: var limit = 7",
			"methods: import (", `methods: "fmt"`, `methods: "math/rand/v2"`, "methods: )",
			"methods: func (*row[T]) String() string { return fmt.Sprint(limit) }",
			"methods: func (row[T]) B() int { return rand.Int() }",
			"table: type row[T any] struct{}", "table: var table = row[int]{}",
		},
		"TestB": {
			"a: func TestB() { var x p.Exported; x.extended() }", "a: // B",
			"constant: )", "constant: const (", "constant: constant = 3",
			`export: import _ "embed"`, "export: type Exported = inner",
			"extend: func (inner) extended() { _ = constant }",
		},
	} {
		texts, err := s.reduced(test)
		if err != nil {
			t.Errorf("%s: %v", test, err)
		}
		var got []string
		for file, text := range texts {
			name := strings.TrimSuffix(file, "_test.go")
			for line := range strings.Lines(string(text)) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "package ") {
					got = append(got, name+": "+line)
				}
			}
			if n := strings.Count(string(s.files[file].text), "\n"); text != nil && n != strings.Count(string(text), "\n") {
				t.Errorf("%s: lines of %s have other numbers", test, name)
			}
		}
		want = append(want, before...)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s is left with\n%s\nand not\n%s", test, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if _, there := texts["elsewhere_test.go"]; there {
			t.Errorf("%s is left with %q", test, slices.Collect(maps.Keys(texts)))
		}
	}
	if got, err := s.reduced("TestD"); err == nil {
		t.Errorf("a test that is not there is left with %q", got)
	}
	if got, err := s.reduced("TestT"); err == nil {
		t.Errorf("a test that is not built without a tag is left with %q", got)
	}
	tagged, err := parseSuite(dir, "tagged")
	if err == nil {
		_, err = tagged.reduced("TestT")
	}
	if err != nil {
		t.Error("with the tag:", err)
	}
	write("misspelt", "package")
	if _, err := parseSuite(dir, ""); err == nil {
		t.Error("a file that is no Go is read")
	}
}
