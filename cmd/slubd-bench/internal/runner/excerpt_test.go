package runner

import (
	"fmt"
	"strings"
	"testing"
)

func TestExcerptKeepsBothEnds(t *testing.T) {
	var w excerpt
	if w.text() != "" {
		t.Errorf("an empty excerpt has the text %q", w.text())
	}
	for i := range 10_000 {
		fmt.Fprintf(&w, "line %d\n", i)
	}
	text := w.text()
	if !strings.HasPrefix(text, ": line 0\n") || !strings.HasSuffix(text, "line 9999") || len(text) > 2*excerptSize+2 {
		t.Errorf("%d bytes from %.20q to %q", len(text), text, text[len(text)-20:])
	}
}

func TestServeEndsOnInvalidRequest(t *testing.T) {
	var out strings.Builder
	if err := serve(strings.NewReader("{\"op\":\"collect\"}\nno JSON\n"), &out); err == nil {
		t.Error("no error for an invalid request")
	}
	if !strings.Contains(out.String(), errNothingBuilt.Error()) {
		t.Errorf("the valid request before it got %q", out.String())
	}
}
