package lint

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// readmeExample is the file and function that README.md's Go block repeats.
const (
	readmeExampleFile = "slub/example_readme_test.go"
	readmeExample     = "Example_readme"
)

// docRules look at what is not source: each takes the module's root.
var docRules = map[string]func(fs.FS) (findings, error){
	"links":          brokenLinks,
	"snippets":       snippetsCompile,
	"names":          namesExist,
	"locks":          locksListed,
	"readme example": readmeExampleDiffers,
}

// link matches the target of a Markdown link, without its title.
var link = regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)`)

// heading matches a Markdown heading.
var heading = regexp.MustCompile(`(?m)^#+ +(.*?) *$`)

// brokenLinks reports relative links of Markdown files that lead to no file, and
// fragments that no heading of the Markdown file they lead to has.
func brokenLinks(root fs.FS) (f findings, err error) {
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
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
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(withoutCode(string(text)), -1) {
			if problem := follow(root, name, m[1]); problem != "" {
				f = append(f, fmt.Sprintf("%s: link to %s: %s", name, m[1], problem))
			}
		}
		return nil
	})
	return f, err
}

// follow says what is wrong with a link that stands in a file, "" for nothing.
func follow(root fs.FS, from, target string) string {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	file, fragment, _ := strings.Cut(target, "#")
	to := path.Join(path.Dir(from), file)
	if file == "" {
		to = from
	}
	info, err := fs.Stat(root, to)
	switch {
	case err != nil:
		return "no such file"
	case fragment == "" || info.IsDir() || path.Ext(to) != ".md":
		return ""
	}
	text, err := fs.ReadFile(root, to)
	if err != nil {
		return err.Error()
	}
	for _, m := range heading.FindAllStringSubmatch(withoutCode(string(text)), -1) {
		if slug(m[1]) == fragment {
			return ""
		}
	}
	return "no such heading"
}

// slug is the fragment that forges make of a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
			return r
		}
		return -1
	}, strings.ToLower(heading))
}

// fence matches a block of code.
var fence = regexp.MustCompile("(?ms)^```.*?^```$")

func withoutCode(markdown string) string { return fence.ReplaceAllString(markdown, "") }

// goFence matches the first Go block.
var goFence = regexp.MustCompile("(?ms)^```go\n(package main\n.*?)^```$")

// readmeExampleDiffers reports a Go program in README.md whose main is not the body of
// readmeExample, or that doesn't import just what that takes. The go command runs the
// example, so that the program compiles and does what it says.
func readmeExampleDiffers(root fs.FS) (f findings, err error) {
	readme, err := fs.ReadFile(root, "README.md")
	if err != nil {
		return nil, err
	}
	m := goFence.FindSubmatch(readme)
	if m == nil {
		return findings{"README.md: has no Go program"}, nil
	}
	example, err := fs.ReadFile(root, readmeExampleFile)
	if err != nil {
		return nil, err
	}
	wantBody, wantImports, err := function(example, readmeExample)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", readmeExampleFile, err)
	}
	gotBody, gotImports, err := function(m[1], "main")
	if err != nil {
		return nil, fmt.Errorf("README.md: %w", err)
	}
	if gotBody != wantBody {
		f = append(f, fmt.Sprintf("README.md: its program is not that of %s:\n%s\n---\n%s", readmeExampleFile, gotBody, wantBody))
	}
	if !slices.Equal(gotImports, wantImports) {
		f = append(f, fmt.Sprintf("README.md: its program imports %v, not %v", gotImports, wantImports))
	}
	return f, nil
}

// function returns the text between a function's braces, without the comment that
// says what an example prints, and the file's imports.
func function(file []byte, name string) (body string, imports []string, err error) {
	tree, err := parser.ParseFile(token.NewFileSet(), "", file, parser.SkipObjectResolution)
	if err != nil {
		return "", nil, err
	}
	for _, spec := range tree.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return "", nil, err
		}
		imports = append(imports, p)
	}
	for _, d := range tree.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == name {
			body, _, _ = strings.Cut(string(file[fn.Body.Lbrace:fn.Body.Rbrace-1]), "\t// Output:")
			return strings.TrimSpace(body), imports, nil
		}
	}
	return "", nil, errors.New("no function " + name)
}

func TestDocs(t *testing.T) {
	checkDocs(t, os.DirFS(root))
}

func checkDocs(t *testing.T, root fs.FS) {
	for name, rule := range docRules {
		t.Run(name, func(t *testing.T) {
			f, err := rule(root)
			if err != nil {
				t.Error(err)
			}
			for _, finding := range f {
				t.Error(finding)
			}
		})
	}
}

// TestDocRulesBite breaks a good tree in one place at a time.
func TestDocRulesBite(t *testing.T) {
	program := func(kind, name, body string) string {
		return "package " + kind + "\n\nimport \"fmt\"\n\nfunc " + name + "() {\n" + body + "}\n"
	}
	good := map[string]string{
		"README.md": "# Top\n\n[design](docs/a.md#the-2nd-part) [here](#top) [folder](docs) [far](https://example.com/x.md)\n\n" +
			"```go\n" + program("main", "main", "\tfmt.Println(1)\n") + "```\n",
		"docs/a.md":       "## The 2nd `part`\n\n[up](../README.md \"title\") [code](../slub/a.go)\n\n```\n[not](a-link.md)\n## Nor this\n```\n",
		"slub/a.go":       "package slub\n",
		".git/x.md":       "[broken](nowhere.md)\n",
		lockTable:         "No lock.\n",
		readmeExampleFile: program("slub_test", readmeExample, "\tfmt.Println(1)\n\t// Output: 1\n"),
	}
	tree := func(change map[string]string) fstest.MapFS {
		m := fstest.MapFS{}
		files := maps.Clone(good)
		maps.Copy(files, change)
		for name, text := range files {
			m[name] = &fstest.MapFile{Data: []byte(text)}
		}
		return m
	}
	checkDocs(t, tree(nil))
	for _, c := range []struct {
		rule, file, old, new string
	}{
		{"links", "README.md", "a.md#", "b.md#"},
		{"links", "README.md", "#the-2nd-part", "#nor-this"},
		{"links", "README.md", "(#top)", "(#bottom)"},
		{"links", "docs/a.md", "../README.md", "README.md"},
		{"links", "docs/a.md", "../slub/a.go", "slub/a.go"},
		{"readme example", "README.md", "Println(1)", "Println(2)"},
		{"readme example", "README.md", `"fmt"`, `"log"`},
		{"readme example", "README.md", "package main", "package example"},
		{"readme example", readmeExampleFile, "Println(1)", "Print(1)"},
	} {
		changed := strings.Replace(good[c.file], c.old, c.new, 1)
		if f, err := docRules[c.rule](tree(map[string]string{c.file: changed})); err != nil || len(f) != 1 {
			t.Errorf("%s: %q for %q in %s: found %q, %v", c.rule, c.new, c.old, c.file, f, err)
		}
	}
}
