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
