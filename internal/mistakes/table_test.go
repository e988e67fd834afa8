package mistakes

import (
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the module's root as seen from this package's directory.
const root = "../.."

// A mistake is a change of the code that makes a test fail.
type mistake struct {
	name   string
	breaks string // what is wrong then, as docs/testing.md puts it
	test   test   // the one that must fail
	says   string // pattern of what it prints, so that it fails for the right reason
	// diff is the change: lines with the path of a file, each followed by lines of it that
	// go together and begin with a blank, "-" or "+", as in any diff.
	diff string
}

// A test is one of another package.
type test struct {
	pkg     string
	pattern string // of go test -run
	engine  string // SLUBD_ENGINE, if one shows a mistake sooner
	tag     string // of go test -tags, if only such a build shows it
}

// all is the table.
var all = slices.Concat(gracePeriods, sections, callbacks, sheaves, queue, timers, freed, ranges, slabs, reclaiming, placement, sequences, guards, debugging, locals, accounts, hooking, misuse, reports)

// choose returns the mistakes that a user's word stands for.
func choose(word string) ([]mistake, error) {
	var names []string
	for _, m := range all {
		if m.name == word {
			return []mistake{m}, nil
		}
		names = append(names, m.name)
	}
	if word == "all" {
		return all, nil
	}
	return nil, fmt.Errorf("%q names no mistake: there are all, %s", word, strings.Join(names, ", "))
}

// apply returns the changed texts of m's files, by their paths.
func (m mistake) apply() (map[string]string, error) {
	changed := map[string]string{}
	var path, before, after string
	hunk := func() error {
		if path == "" {
			return nil
		}
		if changed[path] == "" {
			text, err := os.ReadFile(filepath.Join(root, path))
			if err != nil {
				return err
			}
			changed[path] = string(text)
		}
		text, err := replace(changed[path], before, after)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		changed[path], before, after = text, "", ""
		return nil
	}
	for line := range strings.Lines(strings.TrimPrefix(m.diff, "\n")) {
		switch line[0] {
		case ' ':
			before += line[1:]
			after += line[1:]
		case '-':
			before += line[1:]
		case '+':
			after += line[1:]
		default:
			if err := hunk(); err != nil {
				return nil, err
			}
			path = strings.TrimSpace(line)
		}
	}
	return changed, hunk()
}

// replace puts the lines after in the place of the lines before, which must be there once.
func replace(text, before, after string) (string, error) {
	text, before = "\n"+text, "\n"+before
	at := strings.Index(text, before)
	switch {
	case before == "\n" || at < 0:
		return "", fmt.Errorf("it has no lines%s", before)
	case strings.LastIndex(text, before) != at:
		return "", fmt.Errorf("it has more than once the lines%s", before)
	}
	return text[1:at+1] + after + text[at+len(before):], nil
}

// The table is in step with the code, and docs/testing.md with the table.
func TestTableFits(t *testing.T) {
	for i, m := range all {
		texts, err := m.apply()
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		} else if len(texts) == 0 {
			t.Errorf("%s changes nothing", m.name)
		}
		for path, text := range texts {
			if _, err := format.Source([]byte(text)); err != nil && strings.HasSuffix(path, ".go") {
				t.Errorf("%s: %s is no Go any more: %v", m.name, path, err)
			}
		}
		if slices.ContainsFunc(all[:i], func(o mistake) bool { return o.name == m.name }) {
			t.Errorf("%s is there twice", m.name)
		}
	}
	var want, got []string
	for _, m := range all {
		want = append(want, fmt.Sprintf("| `%s` | %s | ", m.name, m.breaks))
	}
	text, err := os.ReadFile(filepath.Join(root, "docs/testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `") {
			cells := strings.SplitN(line, "|", 4)
			got = append(got, strings.Join(cells[:3], "|")+"| ")
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/testing.md lists\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A change that doesn't fit the code any more is refused, and so is an unknown name.
func TestMisfitsAreRefused(t *testing.T) {
	const text = "\ta\n\ta\n\tb\n\tab\n"
	for _, c := range []struct{ before, after, want string }{
		{"\ta\n", "", ""},
		{"a\n", "", ""},
		{"\tc\n", "", ""},
		{"", "\tc\n", ""},
		{"\tb\n", "\tc\n", "\ta\n\ta\n\tc\n\tab\n"},
		{"\ta\n\tb\n", "\tb\n", "\ta\n\tb\n\tab\n"},
		{"\tab\n", "", "\ta\n\ta\n\tb\n"},
	} {
		if got, err := replace(text, c.before, c.after); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q for %q makes %q, %v", c.after, c.before, got, err)
		}
	}
	for _, diff := range []string{"rcu/sequence.go\n-no such line\n", "rcu/nofile.go\n-package rcu\n", "rcu/sequence.go\n"} {
		if _, err := (mistake{diff: diff}).apply(); err == nil {
			t.Errorf("%q is taken", diff)
		}
	}
	if m, err := choose("Misspelt"); err == nil {
		t.Errorf("Misspelt is %v", m)
	}
	for _, word := range []string{"all", all[0].name} {
		if m, err := choose(word); err != nil || m[0].name != all[0].name || len(m) == 1 != (word != "all") {
			t.Errorf("%s is %v, %v", word, m, err)
		}
	}
}
