package lint

import (
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// maxWidth is the longest line of a comment or a document, in columns. A tab counts 4.
const maxWidth = 100

// banned are words and turns that comments, messages and documents do without. A goroutine is
// called a goroutine and a caller a caller; the rest is plain English that can be read alone.
// Raw strings are data, and may say anything.
var banned = regexp.MustCompile(`(?i)\b(` +
	// Pronouns of persons, for code.
	`who|whoever|whom|somebody|someone|anybody|anyone|nobody|everybody|everyone|he|him|his|` +
	// Old-fashioned turns.
	`lest|anew|for want of|but for|all the same|no more than none|is none any more|` +
	`ha(s|d|ve) (its|their|his) fill|` +
	`se(e|es|en|eing) (it |them |this |that |one |a grace period |its grace period |their grace period )?out|` +
	`so many bytes|so many|as many bytes|as long bytes|` +
	// Metaphors.
	`at it|goes? by|comes? to that|once more what|is through with|by the way` +
	`)\b`)

// person matches the words behind which "who" is right in a document: it speaks of people.
var person = regexp.MustCompile(`(?i)\b(people|persons?|engineers?|colleagues?|maintainers?|contributors?),? $`)

// kept are turns in comments that are good as they are, proofs and stories that were written with
// care: fragments of text, by file.
var kept = map[string][]string{
	"arena/idle.go":                      {`dirty pages nobody has needed`},
	"internal/mem/store_amd64.go":        {`so that whoever loads it atomically`},
	"internal/percpu/arrays.go":          {`Whoever takes an array`, `starts anew`, `to the next who wants`},
	"internal/percpu/rseq_linux_amd64.h": {`begins anew`, `anyone else could`, `resumes who was`, `anyone else may rely`},
	"internal/sys/doc.go":                {`# Who owns`, `nobody registers`, `Whoever reads -1`, `Whoever owns it`},
	"rcu/sections.go":                    {`Whoever may make`, `nobody is sent`},
}

// isKept reports whether the turn at an offset of a passage is one of kept.
func isKept(file, text string, offset int) bool {
	for _, fragment := range kept[file] {
		for from := 0; ; {
			at := strings.Index(text[from:], fragment)
			if at < 0 {
				break
			}
			if from += at; from <= offset && offset < from+len(fragment) {
				return true
			}
			from++
		}
	}
	return false
}

// wordsFile is this file, whose samples say what is banned.
const wordsFile = "internal/lint/words_test.go"

// proseExt are the kinds of file whose prose is looked at; "" is Makefile and scripts.
var proseExt = []string{".go", ".s", ".c", ".h", ".sh", ".md", ""}

// A passage is a piece of prose: lines that belong together, joined by blanks, so that a turn is
// found across the end of a line.
type passage struct {
	text  strings.Builder
	lines []int // numbers of the lines
	ends  []int // where in text each of them ends
}

func (p *passage) add(line int, text string) {
	p.text.WriteString(strings.TrimSpace(text) + " ")
	p.lines, p.ends = append(p.lines, line), append(p.ends, p.text.Len())
}

// lineOf returns the number of the line that holds the byte at an offset into text.
func (p *passage) lineOf(offset int) int {
	i, _ := slices.BinarySearch(p.ends, offset+1)
	return p.lines[i]
}

// prose is what a rule on words looks at in one file.
type prose struct {
	passages []*passage
	wide     []int // numbers of lines that must not exceed maxWidth
}

// add puts a line into the passage that ends on the line before, or begins one.
func (p *prose) add(line int, text string) {
	if n := len(p.passages); n > 0 && slices.Max(p.passages[n-1].lines) == line-1 {
		p.passages[n-1].add(line, text)
		return
	}
	p.passages = append(p.passages, new(passage))
	p.passages[len(p.passages)-1].add(line, text)
}

// proseOf finds the prose of a file: comments and interpreted string literals of Go, comments of
// other sources, documents without their blocks of code. A block that names no language is what a
// program has printed, and may be as wide as that.
func proseOf(name string, text []byte) (p prose) {
	switch lines := strings.Split(string(text), "\n"); path.Ext(name) {
	case ".go":
		p.ofGo(text)
	case ".md":
		p.ofMarkdown(lines)
	case ".s", ".c", ".h":
		for i, line := range lines {
			at := strings.Index(line, "//")
			if at > 0 && line[at-1] == ':' {
				at = -1 // an address
			}
			if block := strings.Index(line, "/*"); at < 0 {
				at = block
			}
			if at < 0 && strings.HasPrefix(strings.TrimSpace(line), "*") {
				at = 0
			}
			if at >= 0 {
				p.add(i+1, line[at:])
				p.wide = append(p.wide, i+1)
			}
		}
	default:
		for i, line := range lines {
			if at := strings.Index(line, "#"); at >= 0 {
				p.add(i+1, line[at:])
				p.wide = append(p.wide, i+1)
			}
		}
	}
	return p
}

func (p *prose) ofGo(text []byte) {
	var s scanner.Scanner
	set := token.NewFileSet()
	file := set.AddFile("", -1, len(text))
	s.Init(file, text, nil, scanner.ScanComments)
	for {
		pos, tok, literal := s.Scan()
		switch {
		case tok == token.EOF:
			return
		case tok == token.COMMENT:
			for i, line := range strings.Split(literal, "\n") {
				p.add(file.Line(pos)+i, strings.TrimPrefix(line, "//"))
				p.wide = append(p.wide, file.Line(pos)+i)
			}
		case tok == token.STRING && literal[0] == '"':
			p.passages = append(p.passages, new(passage))
			p.passages[len(p.passages)-1].add(file.Line(pos), literal)
		}
	}
}

func (p *prose) ofMarkdown(lines []string) {
	code, output := false, false
	for i, line := range lines {
		if strings.HasPrefix(line, "```") {
			code, output = !code, line == "```"
			continue
		}
		if !code && line != "" {
			p.add(i+1, line)
		}
		if !strings.HasPrefix(line, "|") && !(code && output) {
			p.wide = append(p.wide, i+1)
		}
	}
}

// columns is how wide a line is on a screen.
func columns(line string) int {
	n := 0
	for _, r := range line {
		if n++; r == '\t' {
			n += 3
		}
	}
	return n
}

// plainWords reports banned turns, and lines of comments and documents that are too wide, in the
// files of the directories that held chooses. Rows of tables and lines with an address of the web
// may be wider.
func plainWords(root fs.FS, held func(dir string) bool) (f findings, err error) {
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := strings.HasPrefix(d.Name(), ".") && name != "." && name != ".ci"
			if hidden || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		ours := name != "LICENSE" && name != wordsFile && !strings.HasPrefix(d.Name(), ".") && slices.Contains(proseExt, path.Ext(name))
		if !ours || !held(path.Dir(name)) {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		p := proseOf(name, text)
		for _, passage := range p.passages {
			for _, at := range banned.FindAllStringIndex(passage.text.String(), -1) {
				before, turn := passage.text.String()[:at[0]], passage.text.String()[at[0]:at[1]]
				ofPeople := path.Ext(name) == ".md" && strings.EqualFold(turn, "who") && person.MatchString(before)
				if ofPeople || isKept(name, passage.text.String(), at[0]) {
					continue
				}
				f = append(f, fmt.Sprintf("%s:%d: says %q", name, passage.lineOf(at[0]), turn))
			}
		}
		lines := strings.Split(string(text), "\n")
		for _, n := range slices.Compact(p.wide) {
			if line := lines[n-1]; columns(line) > maxWidth && !strings.Contains(line, "://") {
				f = append(f, fmt.Sprintf("%s:%d: is %d columns wide", name, n, columns(line)))
			}
		}
		return nil
	})
	return f, err
}

// TestWordsBite runs the rule on files of each kind that break it in one line, and on others that
// don't.
func TestWordsBite(t *testing.T) {
	wide := strings.Repeat("word ", maxWidth/5) + "x"
	for _, c := range []struct {
		name, text string
		want       int // the line to object to, 0 for none
	}{
		{"a.go", "package a\n\n// Whoever holds it.\nvar A = 1\n", 3},
		{"a.go", "package a\n\n// It has to see the grace\n// period, see\n// out.\nvar A = 1\n", 4},
		{"a.go", "package a\n\n/* One.\nnobody\n*/\nvar A = 1\n", 4},
		{"a.go", "package a\n\nvar A = \"for want of memory\"\n", 3},
		{"a.go", "package a\n\nvar A = `his`\nvar he = 1\n", 0},
		{"a.go", "package a\n\n// " + wide + "\nvar A = 1\n", 3},
		{"a.go", "package a\n\nvar A = f(" + strings.ReplaceAll(wide, " ", ", ") + ")\n", 0},
		{"a.go", "package a\n\n\t// " + strings.Repeat("w", maxWidth-6) + "\nvar A = 1\n", 3},
		{"a.go", "package a\n\n// https://example.com/" + strings.ReplaceAll(wide, " ", "/") + "\n", 0},
		{"a.s", "TEXT f(SB)\n\tMOVQ AX, BX // his word\n", 2},
		{"a.c", "int f;\n/* the one\n * that somebody holds */\n", 3},
		{"a.h", "int he;\n", 0},
		{"a.sh", "echo who # all the same\n", 1},
		{"Makefile", "all: # " + wide + "\n", 1},
		{"a.md", "# A\n\nIt is the same for\nwant of memory.\n", 3},
		{"a.md", "# A\n\nThe engineers who read it.\n", 0},
		{"a.md", "# A\n\nThe goroutine who reads it.\n", 3},
		{"a.md", "# A\n\n```\nwho\n```\n", 0},
		{"a.md", "# A\n\n```\n" + wide + "\n```\n", 0},
		{"a.md", "# A\n\n```go\n" + wide + "\n```\n", 4},
		{"a.md", "# A\n\n| " + wide + " |\n", 0},
		{"a.md", "# A\n\n| nobody |\n", 3},
		{"arena/idle.go", "package a\n\n// Those dirty pages nobody has needed.\nvar A = 1\n", 0},
		{"arena/idle.go", "package a\n\n// Those pages nobody has needed.\nvar A = 1\n", 3},
		{"testdata/a.md", "nobody\n", 0},
		{".git/a.md", "nobody\n", 0},
		{".ci/run", "# nobody\n", 1},
		{"LICENSE", "# nobody\n", 0},
	} {
		tree := fstest.MapFS{c.name: &fstest.MapFile{Data: []byte(c.text)}}
		f, err := plainWords(tree, func(string) bool { return true })
		if err != nil {
			t.Error(err)
		}
		want := fmt.Sprintf("%s:%d: ", c.name, c.want)
		if len(f) > 1 || (len(f) == 1) != (c.want > 0) || len(f) == 1 && !strings.HasPrefix(f[0], want) {
			t.Errorf("%s with %q: found %q, should object to line %d", c.name, c.text, f, c.want)
		}
	}
}
