package lint

import (
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// inverted matches sentences that begin with what is said and end with what it is said of: "Left
// out is what doesn't fit". Plain English has them the other way round: "What doesn't fit is left
// out".
var inverted = regexp.MustCompile(`(?:^|// *|[.:;] +)((?:Left out|Not [a-z]+ed|[A-Z][a-z]+(?:ed|en|wn|ft|ld|pt))` +
	`(?: (?:here|there|too|as well))? (?:is|are|was|were) (?:what|whatever|those|whichever|all that))\b`)

// bareClause matches a comment behind code that is a relative clause without the noun that it
// belongs to: "which of past is the oldest", "in which they are freed", "here since reports look
// at both". Such a comment begins with a noun: "index of the oldest", "order of freeing".
var bareClause = regexp.MustCompile(`^(?:` +
	`(?:(?:after|at|behind|by|for|from|in|of|on|through|to|under|with) )?(?:which|whose|whom)` +
	`|that|(?:here|there) since|of (?:these|those) alone)\b`)

// demonstrative matches the uses of "that" which bareClause means not.
var demonstrative = regexp.MustCompile(`^that (?:many|much|few|one|way)\b`)

// clauses reports sentences in comments and documents that inverted matches, and comments behind
// Go code that bareClause matches.
func clauses(root fs.FS) (f findings, err error) {
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if (strings.HasPrefix(d.Name(), ".") && name != ".") || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if ext := path.Ext(name); ext != ".go" && ext != ".md" && ext != ".s" && ext != ".h" || name == clausesFile {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		for _, p := range proseOf(name, text).passages {
			for _, at := range inverted.FindAllStringSubmatchIndex(p.text.String(), -1) {
				f = append(f, fmt.Sprintf("%s:%d: %q is turned round", name, p.lineOf(at[2]), p.text.String()[at[2]:at[3]]))
			}
		}
		if path.Ext(name) == ".go" {
			f = append(f, bareClauses(name, text)...)
		}
		return nil
	})
	return f, err
}

// clausesFile is this file, whose samples say what is not allowed.
const clausesFile = "internal/lint/clauses_test.go"

func bareClauses(name string, text []byte) (f findings) {
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", -1, len(text))
	s.Init(file, text, nil, scanner.ScanComments)
	for code := 0; ; { // the line of the last token that is no comment
		pos, tok, literal := s.Scan()
		line := file.Line(pos)
		switch {
		case tok == token.EOF:
			return f
		case tok == token.COMMENT:
			comment := strings.TrimSpace(strings.TrimLeft(literal, "/*"))
			if at := bareClause.FindString(comment); line == code && at != "" && !demonstrative.MatchString(comment) {
				f = append(f, fmt.Sprintf("%s:%d: a comment begins with %q and has no noun for it", name, line, at))
			}
		case tok != token.SEMICOLON || literal == ";": // not one that the scanner has inserted
			code = line + strings.Count(literal, "\n")
		}
	}
}

// No sentence is turned round, and no comment of a field is a relative clause alone.
func TestClauses(t *testing.T) {
	f, err := clauses(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range f {
		t.Error(finding)
	}
}

// TestClausesBite runs the rule on lines that break it, and on others that don't.
func TestClausesBite(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       int // the line to object to, 0 for none
	}{
		{"a.go", "package a\n\n// A is one. Left out is what\n// doesn't fit.\nvar A = 1\n", 3},
		{"a.go", "package a\n\n// Not counted here are those in use.\nvar A = 1\n", 3},
		{"a.go", "package a\n\n// Closed is whether it is closed. What is left out is small.\nvar A = 1\n", 0},
		{"a.md", "# A\n\nIt is small. Kept is what is used.\n", 3},
		{"a.s", "\tMOVQ AX, BX // Given is whatever fits\n", 1},
		{"a.go", "package a\n\nvar A = 1 // which of them is the oldest\n", 3},
		{"a.go", "package a\n\ntype A struct {\n\tb []int // in which they are freed\n}\n", 4},
		{"a.go", "package a\n\nvar A = 1 // here since reports look at both\n", 3},
		{"a.go", "package a\n\nvar A = `x\ny` // that the sources include\n", 4},
		{"a.go", "package a\n\nvar A = 1 // that many are left\n", 0},
		{"a.go", "package a\n\nvar A = 1 // the order,\n// in which they are freed\n", 0},
		{"a.go", "package a\n\n// A is the one\n// which counts.\nvar A = 1\n", 0},
	} {
		f, err := clauses(fstest.MapFS{c.name: &fstest.MapFile{Data: []byte(c.text)}})
		if err != nil {
			t.Error(err)
		}
		want := fmt.Sprintf("%s:%d: ", c.name, c.want)
		if len(f) > 1 || (len(f) == 1) != (c.want > 0) || len(f) == 1 && !strings.HasPrefix(f[0], want) {
			t.Errorf("%s with %q: found %q, should object to line %d", c.name, c.text, f, c.want)
		}
	}
}
