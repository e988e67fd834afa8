package debug

import (
	"strings"
	"testing"
)

// The grammar is that of the kernel's slab_debug=.
func TestParse(t *testing.T) {
	for _, c := range []struct{ text, name, want string }{
		{"FZPU", "any", "FZPU"},
		{"fzputa", "any", "FZPUTA"},
		{"qf", "any", "FQ"},
		{"-", "any", "-"},
		{"Z,session", "session", "Z"},
		{"Z,session", "session-2", ""},
		{"P,session*", "session-2", "P"},
		{",session", "session", "FZPU"},
		{"Z,a,b*;U,bc", "bc", "Z"}, // the first that matches, alone
		{"Z,a;U", "b", "U"},
		{"U;Z,a", "a", "Z"},
		{"U;T", "a", "T"}, // the last without names
		{"FZ;-,conn*", "conn-1", "-"},
		{"FZ ; P,a", "a", "P"},
		{"P,*", "any", "P"},
		{"FZ, session", "session", "FZ"},
		{" Z , a , b* ; U", "b-1", "Z"},
		{"FZ;", "any", "FZ"},
		{"FZ,a; ", "a", "FZ"},
	} {
		r, err := Parse(c.text)
		f, ok := r.For(c.name)
		if got := f.String(); err != nil || ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%q, %q: %s, %t, %v; want %q", c.text, c.name, got, ok, err, c.want)
		}
	}
	if f, ok := (Rules{}).For("a"); f != 0 || ok {
		t.Errorf("no rules give %v", f)
	}
}

// What is not of the grammar is left out, and named. The rest counts.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, problem, want string }{
		{"", "empty", ""},
		{"Z;;P,a", "empty", "Z"},
		{"FX;Z", "'X'", "Z"},
		{"F-", "'-'", ""},
		{"Z,", `"" is no name`, ""},
		{"Z, ", `"" is no name`, ""},
		{";", "empty", ""},
		{"Z,a*b;P", `"a*b" is no name`, "P"},
		{"Z,é**", "is no name", ""},
		{"\x00\xff", "there is no flag", ""},
	} {
		r, err := Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%q: %v, want %s", c.text, err, c.problem)
		}
		if f, ok := r.For("other"); ok != (c.want != "") || ok && f.String() != c.want {
			t.Errorf("%q: %v, %t; want %q", c.text, f, ok, c.want)
		}
	}
}

// No text makes Parse fail in another way than by its error, and what it accepts it accepts again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"FZPU", "Z,a*;-", ",", ";;", "P,é", "-,*"} {
		f.Add(text, "name")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		r, err := Parse(text)
		flags, ok := r.For(name)
		again, _ := Parse(text)
		if f, same := again.For(name); f != flags || same != ok {
			t.Errorf("%q, %q: %v, then %v", text, name, flags, f)
		}
		if rest, ok := strings.CutSuffix(strings.TrimSpace(text), ";"); ok {
			text = rest
		}
		if parts := strings.Count(text, ";") + 1; err == nil && !ok && len(r.blocks) != parts {
			t.Errorf("%q: %d of %d blocks, without an error", text, len(r.blocks), parts)
		}
	})
}
