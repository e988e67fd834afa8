package child

import (
	"fmt"
	"strings"
	"testing"
)

func TestTailKeepsBothEnds(t *testing.T) {
	var w tail
	if w.text() != "" {
		t.Errorf("an empty tail says %q", w.text())
	}
	for i := range 10_000 {
		fmt.Fprintf(&w, "line %d\n", i)
	}
	text := w.text()
	if !strings.HasPrefix(text, ": line 0\n") || !strings.HasSuffix(text, "line 9999") || len(text) > 2*tailSize+2 {
		t.Errorf("%d bytes from %.20q to %q", len(text), text, text[len(text)-20:])
	}
}

func TestServeEndsOnGarbage(t *testing.T) {
	var out strings.Builder
	if err := serve(strings.NewReader("{\"op\":\"collect\"}\nno JSON\n"), &out); err == nil {
		t.Error("garbage was served")
	}
	if !strings.Contains(out.String(), errNothingBuilt.Error()) {
		t.Errorf("the request before the garbage got %q", out.String())
	}
}
