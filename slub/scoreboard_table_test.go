package slub

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// scoreFile has the table, a row for each program.
const scoreFile = "../docs/scoreboard.md"

// scoreModes are the columns behind a program's name.
var scoreModes = []string{"release", "hardened", "guards", "debug", "invariants", "race", "asan"}

// scores are the rows of scoreFile. Rows have the outcomes in the order of scoreModes.
type scores struct {
	text  string
	rows  map[string][]outcome
	write bool // the file is to get what this build shows
}

// cells returns the cells of a row of a table.
func cells(line string) (cells []string) {
	if !strings.HasPrefix(line, "|") {
		return nil
	}
	for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
		cells = append(cells, strings.Trim(cell, " `"))
	}
	return cells
}

// readScores reads scoreFile, which must have a row for each program, and no other.
func readScores(t *testing.T, programs []program) *scores {
	text, err := os.ReadFile(scoreFile)
	if err != nil {
		t.Fatal(err)
	}
	s := &scores{text: string(text), rows: map[string][]outcome{}, write: os.Getenv("SLUBD_SCOREBOARD") == "write"}
	for line := range strings.Lines(s.text) {
		row := cells(strings.TrimSpace(line))
		i := slices.IndexFunc(programs, func(p program) bool { return len(row) > 0 && p.name == row[0] })
		if i < 0 {
			continue
		}
		outcomes := make([]outcome, len(scoreModes))
		for j := range outcomes {
			if j+1 < len(row) {
				outcomes[j] = outcome(row[j+1])
			}
		}
		s.rows[row[0]] = outcomes
	}
	for _, p := range programs {
		if s.rows[p.name] == nil {
			t.Errorf("%s has no row for %s", scoreFile, p.name)
			s.rows[p.name] = make([]outcome, len(scoreModes))
		}
		if p.absent != "" {
			for j := range s.rows[p.name] {
				s.rows[p.name][j] = absent
			}
		}
	}
	if len(programs) != len(s.rows) || len(programs) != numPrograms {
		t.Errorf("%d programs, %d rows, want %d", len(programs), len(s.rows), numPrograms)
	}
	return s
}

// numPrograms is 42 of mimalloc-bench, 51 of hardened_malloc and 12 of slub_kunit.
const numPrograms = 105

// either separates the outcomes of a program whose outcome depends on where its object lies. The
// first one is the one that counts.
const either = " or "

// compare compares a mode's column with what its programs have shown.
func (s *scores) compare(t *testing.T, mode string, got map[string]outcome) {
	column := slices.Index(scoreModes, mode)
	for name, out := range got {
		want := &s.rows[name][column]
		switch {
		case slices.Contains(strings.Split(string(*want), either), string(out)):
		case s.write:
			*want = out
		default:
			t.Errorf("%s, %s: %s, and %s has %s", name, mode, out, scoreFile, *want)
		}
	}
	t.Logf("%s: %s", mode, s.sum(column))
}

// sum counts the outcomes of a column: all, and how they come about.
func (s *scores) sum(column int) string {
	stopped, harmless := 0, 0
	for _, row := range s.rows {
		first, _, _ := strings.Cut(string(row[column]), either)
		switch outcome(first) {
		case fine:
			harmless++
		case missed, absent, "":
		default:
			stopped++
		}
	}
	return fmt.Sprintf("%d (%d + %d)", stopped+harmless, stopped, harmless)
}

// finish compares the sums, or writes the file.
func (s *scores) finish(t *testing.T) {
	sums := []string{"all"}
	for column := range scoreModes {
		sums = append(sums, s.sum(column))
	}
	var b bytes.Buffer
	for line := range strings.Lines(s.text) {
		row := cells(strings.TrimSpace(line))
		switch {
		case len(row) > 0 && s.rows[row[0]] != nil:
			fmt.Fprintf(&b, "| `%s` |", row[0])
			for _, out := range s.rows[row[0]] {
				fmt.Fprintf(&b, " %s |", out)
			}
			b.WriteString("\n")
		case len(row) > 0 && row[0] == "all":
			fmt.Fprintf(&b, "| %s |\n", strings.Join(sums, " | "))
		default:
			b.WriteString(line)
		}
	}
	switch {
	case s.write:
		if err := os.WriteFile(scoreFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	case b.String() != s.text:
		t.Errorf("the sums of %s, or its form, differ from its rows; the sums are %v", scoreFile, sums)
	}
}
