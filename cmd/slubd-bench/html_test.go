package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

func TestHTML(t *testing.T) {
	if testutil.Instrumented {
		t.Skip("what it measures and writes has tests of its own")
	}
	file := filepath.Join(t.TempDir(), "run.html")
	code, stdout, stderr := bench(t, append(quick, "-html", file)...)
	text, err := os.ReadFile(file)
	if code != exitOK || err != nil || !strings.Contains(stdout, "\npair ") {
		t.Fatalf("exit %d, %v, %s", code, err, stderr)
	}
	for _, want := range []string{`id="w-pair"`, `id="w-gc"`, `id="memory"`, "slubd&#39;s arena", "virtual machine", "</html>"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in the page", want)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(file)); err != nil || len(files) != 1 {
		t.Errorf("left over: %v, %v", files, err)
	}
}

// Nothing is measured for a page that can't be written.
func TestHTMLNeedsAPlace(t *testing.T) {
	code, stdout, stderr := bench(t, append(quick, "-html", "/no/such/directory/run.html")...)
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, "-html: ") {
		t.Errorf("exit %d, %s, %s", code, stdout, stderr)
	}
	dir := t.TempDir()
	p, err := newPage(filepath.Join(dir, "run.html"))
	if err != nil {
		t.Fatal(err)
	}
	p.discard()
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("left over: %v, %v", files, err)
	}
}
