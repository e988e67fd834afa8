package top

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/debugpage"
)

// The table shows the caches of a program, read through the page's own figures.
func TestTopOfAProgram(t *testing.T) {
	c, err := slub.New(nil, slub.Config{Name: "shown-by-top", Size: 1024})
	if err != nil {
		t.Fatal(err)
	}
	var held [500]unsafe.Pointer
	if err := c.AllocBulk(held[:]); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/debug/slubd/", debugpage.Handler())
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, address := range []string{server.URL, server.URL + "/debug/slubd/", strings.TrimPrefix(server.URL, "http://")} {
		var out strings.Builder
		if err := Run(context.Background(), []string{"-once", "-sort", "inuse", address}, &out, "<clear>"); err != nil {
			t.Fatal(err)
		}
		row := regexp.MustCompile(`(?m)^ +500 +\d+\.\d% +1024 +\d+ +500\.0KB +\d.* shown-by-top$`)
		if text := out.String(); !row.MatchString(text) || !strings.HasPrefix(text, "<clear>process ") {
			t.Errorf("%s:\n%s", address, text)
		}
	}
	c.FreeBulk(held[:])
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// Rates are differences over time, and so is the hit rate; a cache that was made again has none.
func TestRates(t *testing.T) {
	last := &reading{Time: 10, Caches: []cache{{Name: "a", Allocs: 100, Frees: 50, Slow: 10, Refilled: 90}, {Name: "again", Allocs: 100}}}
	now := &reading{Time: 12, Caches: []cache{{Name: "a", Allocs: 300, Frees: 150, Slow: 10, Refilled: 140}, {Name: "again", Allocs: 5, HitRate: -1}}}
	now.rates(last)
	if a := now.Caches[0]; a.allocRate != 100 || a.freeRate != 50 || a.HitRate != 0.75 {
		t.Errorf("%+v", a)
	}
	if c := now.Caches[1]; c.allocRate != 0 || c.HitRate != -1 {
		t.Errorf("%+v", c)
	}
}

func TestOrderAndRows(t *testing.T) {
	r := &reading{Caches: []cache{{Name: "b", SlabBytes: 5}, {Name: "a", SlabBytes: 5}, {Name: "big", SlabBytes: 9}, {Name: "small", SlabBytes: 1}}}
	lines := strings.Split(strings.TrimSpace(r.table(orders["size"], 3)), "\n")
	var names []string
	for _, l := range lines[2:] {
		f := strings.Fields(l)
		names = append(names, f[len(f)-1])
	}
	if got := strings.Join(names, " "); got != "big a b" {
		t.Errorf("rows %s", got)
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"a", "b"}, {"-sort", "colour", "x"}, {"-n", "-1", "x"}, {"-every", "0s", "x"}, {"http://"}, {"-what"}} {
		if err := Run(context.Background(), args, nil, ""); !errors.Is(err, ErrUsage) {
			t.Errorf("%v: %v", args, err)
		}
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	if err := Run(context.Background(), []string{server.URL}, nil, ""); err == nil || !strings.Contains(err.Error(), "debugpage") {
		t.Errorf("a program without the page: %v", err)
	}
}

// The flags are shown when they are asked for, which is no error.
func TestHelp(t *testing.T) {
	var out strings.Builder
	if err := Run(context.Background(), []string{"-h"}, &out, ""); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"usage: slubd-bench top", "-once", "-sort order", "-every time"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestURLWithoutHost(t *testing.T) {
	if _, err := dataURL("http://"); err == nil || err.Error() != `the URL "http://" has no host` {
		t.Error(err)
	}
}

// A program that answers badly once, since it is restarting, doesn't end the command.
func TestOneFailedAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked++; asked {
		case 1:
			w.Write([]byte(`{"pid": 1}`))
		case 2:
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		case 3:
			w.Write([]byte(`{"pid": 3}`))
		default:
			cancel()
		}
	}))
	defer server.Close()
	var out strings.Builder
	if err := Run(ctx, []string{"-every", "1ms", server.URL}, &out, "<clear>"); err != nil {
		t.Error(err)
	}
	tables := strings.Split(out.String(), "<clear>")
	if len(tables) < 4 || !strings.HasPrefix(tables[1], "process 1,") || !strings.Contains(tables[2], "503") || !strings.HasPrefix(tables[3], "process 3,") {
		t.Errorf("%q", tables)
	}
}

// A program that never answers is given up.
func TestNoAnswer(t *testing.T) {
	old := *client
	client.Timeout = 1
	defer func() { *client = old }()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	if err := Run(context.Background(), []string{server.URL}, nil, ""); err == nil {
		t.Error("an answer")
	}
	if old.Timeout <= 0 {
		t.Error("there is no timeout")
	}
}

func TestAnswerIsBounded(t *testing.T) {
	text := `{"pid": 1}`
	if r, err := decode(strings.NewReader(text), 100); err != nil || r.PID != 1 {
		t.Error(r, err)
	}
	if _, err := decode(strings.NewReader(strings.Repeat(" ", 100)+text), 100); err == nil || err.Error() != "the answer has more than 100 bytes" {
		t.Error(err)
	}
}

// Names of another program send no command to the terminal.
func TestControlCharacters(t *testing.T) {
	r := &reading{Engine: "e\x1b[2J", Caches: []cache{{Name: "c\x1b]0;title\a\tx"}}}
	r.Domains = append(r.Domains, struct {
		Name, OldestName, OldestPlace string
		OldestSeconds                 float64
	}{"d\x1b", "r\x1b", "p\x1b", 1})
	if text := r.table(orders["name"], 0); strings.ContainsAny(text, "\x1b\a") || !strings.HasSuffix(text, "  c\uFFFD]0;title\uFFFD\uFFFDx\n") {
		t.Errorf("%q", text)
	}
}

// What is in the way is a reader with its line, or sections, whose line is known in some builds.
func TestWhichIsInTheWay(t *testing.T) {
	text := `{"Domains": [{"Name": "d", "OldestSeconds": 2}, {"Name": "d", "OldestSeconds": 2, "OldestPlace": "a.go:1"},
		{"Name": "d", "OldestSeconds": 2, "OldestName": "r", "OldestPlace": "a.go:1"}]}`
	r, err := decode(strings.NewReader(text), 1000)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"sections of Enter", "sections of Enter (a.go:1)", `reader "r" (a.go:1)`}
	lines := strings.Split(r.table(orders["name"], 0), "\n")
	for i, w := range want {
		if got, w := lines[i+1], `domain "d": in the way for 2.0 s: `+w; got != w {
			t.Errorf("%q, not %q", got, w)
		}
	}
}
