package debugpage

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// newCache makes a cache with n objects in use, which are freed at the test's end.
func newCache(t *testing.T, cfg slub.Config, n int) *slub.Cache {
	t.Helper()
	c, err := slub.New(nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	held := make([]unsafe.Pointer, n)
	for i := range held {
		if held[i], err = c.Alloc(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		c.FreeBulk(held)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func get(t *testing.T, method, url string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(method, url, nil))
	return w
}

// The page loads nothing from elsewhere, and its headers forbid the browser to.
func TestPageIsSelfContained(t *testing.T) {
	w := get(t, "GET", "/debug/slubd/")
	body := w.Body.String()
	if w.Code != 200 || !strings.HasPrefix(body, "<!doctype html>") || !strings.Contains(body, pageJS) || !strings.Contains(body, pageCSS) {
		t.Fatalf("status %d, %.100s", w.Code, body)
	}
	if m := regexp.MustCompile(`(?i)https?://|//[a-z]+\.|\bsrc=|@import|url\(|innerHTML`).FindString(body); m != "" {
		t.Errorf("the page has %q", m)
	}
	if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") {
		t.Errorf("policy %q", p)
	}
}

// The policy allows the browser the page's script and no other, by its hash.
func TestPolicyHasTheScriptsHash(t *testing.T) {
	w := get(t, "GET", "/debug/slubd/")
	_, script, _ := strings.Cut(w.Body.String(), "<script>")
	script, _, _ = strings.Cut(script, "</script>")
	hash := sha256.Sum256([]byte(script))
	want := "; script-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; "
	if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, want) {
		t.Errorf("policy %q lacks %q", p, want)
	}
}

// Clients share a snapshot for a while, and HEAD takes none.
func TestSnapshotIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		s := newServer(func() snapshot { reads++; return snapshot{PID: reads} })
		ask := func(method string, wantReads int, wantBody string) {
			t.Helper()
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(method, "/data.json", nil))
			if w.Code != 200 || reads != wantReads || !strings.Contains(w.Body.String(), wantBody) || w.Body.Len() > 0 != (wantBody != "") {
				t.Errorf("%s: status %d, %d snapshots, want %d; %s", method, w.Code, reads, wantReads, w.Body)
			}
		}
		ask("HEAD", 0, "")
		ask("GET", 1, `"pid":1,`)
		time.Sleep(fresh - time.Nanosecond)
		ask("GET", 1, `"pid":1,`)
		time.Sleep(time.Nanosecond)
		ask("HEAD", 1, "")
		ask("GET", 2, `"pid":2,`)
	})
}

// A size class is shown once anything has happened to it.
func TestUnused(t *testing.T) {
	class := slub.Stats{ID: 2, Backlog: slub.BacklogStats{ID: 1}}
	slab, failed, refused, alone := class, class, class, class
	slab.Events[slub.AllocSlab], failed.AllocFailures, refused.ForeignFrees, alone.Backlog.ID = 1, 1, 1, 2
	if !unused(class) {
		t.Error("a class that was never used is shown")
	}
	for what, s := range map[string]slub.Stats{"a slab": slab, "a failure": failed, "a refused pointer": refused, "a backlog of its own": alone} {
		if unused(s) {
			t.Errorf("a cache with %s is not shown", what)
		}
	}
}

// Nothing that changes anything is answered.
func TestOnlyReads(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		for _, element := range []string{"", "data.json", "counters?cache=x", "slabinfo"} {
			if w := get(t, method, "/debug/slubd/"+element); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: status %d", method, element, w.Code)
			}
		}
	}
}

// A reader that holds up a grace period is shown, and neither counted as a stall nor reported for
// having been looked at.
func TestNoStallForLooking(t *testing.T) {
	domain := &rcu.Domain{Name: "looked-at"}
	domain.OnStall(1, func(s rcu.Stall) { t.Error(s) })
	newCache(t, slub.Config{Name: "looked-at", Size: 64, Domain: domain}, 1)
	reader := domain.Register("slow")
	domain.Start()
	var s snapshot
	for range 5 { // of five handlers, as one would answer with the same snapshot
		if err := json.Unmarshal(get(t, "GET", "/x/data.json").Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	for _, d := range s.Domains {
		if d.Name != "looked-at" {
			continue
		}
		if found++; d.OldestName != "slow" || d.OldestSeconds == 0 || d.Stalls != 0 {
			t.Errorf("%+v", d)
		}
	}
	if found != 1 {
		t.Errorf("the domain is shown %d times: %+v", found, s.Domains)
	}
	if n := domain.Stats().Stalls; n != 0 {
		t.Errorf("%d stalls", n)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
}

func TestDataHasTheCache(t *testing.T) {
	g, err := slub.NewGroup(slub.GroupConfig{Name: "shown-group", Limit: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	newCache(t, slub.Config{Name: "shown", Size: 128, Group: g, Domain: &rcu.Domain{Name: "shown-domain"}, ProfileRate: 1024}, 500)
	var s snapshot
	if err := json.Unmarshal(get(t, "GET", "/x/data.json").Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, c := range s.Caches {
		if c.Name != "shown" {
			continue
		}
		if found++; c.InUse != 500 || c.InUseBytes != 500*128 || c.SlabBytes < c.InUseBytes || c.Group != "shown-group" || c.Domain != "shown-domain" ||
			len(c.CPUs) == 0 || len(c.Nodes) == 0 || c.Arena == "" {
			t.Errorf("%+v", c)
		}
	}
	if found != 1 {
		t.Errorf("the cache is shown %d times: %+v", found, s.Caches)
	}
	if len(s.Arenas) == 0 || s.Arenas[0].Limit == arena.Unlimited || len(s.Groups) == 0 || s.Groups[0].Limit != 1<<30 {
		t.Errorf("%+v, %+v", s.Arenas, s.Groups)
	}
	for _, site := range s.Profile.Sites {
		if site.Cache == "shown" {
			if !strings.HasPrefix(site.Function, "debugpage.newCache") || !strings.HasPrefix(site.Place, "debugpage/handler_test.go:") || site.InUseBytes < 1000 {
				t.Errorf("%+v", site)
			}
			return
		}
	}
	t.Errorf("no call site: %+v", s.Profile)
}

// A hit is an object that came from a sheaf and had not been fetched for it from a slab.
func TestHitRate(t *testing.T) {
	for _, c := range []struct {
		fast, slow, refilled uint64
		want                 float64
	}{{0, 0, 0, -1}, {100, 0, 0, 1}, {100, 0, 100, 0}, {75, 25, 25, 0.5}, {10, 0, 60, 0}} {
		if got := hitRate(c.fast, c.slow, c.refilled); got != c.want {
			t.Errorf("%d fast, %d slow, %d refilled: %v, want %v", c.fast, c.slow, c.refilled, got, c.want)
		}
	}
}

// The counters have the kernel's order and form, and CPUs add up to the sum.
func TestCounters(t *testing.T) {
	c := newCache(t, slub.Config{Name: "counters", Size: 64}, 100)
	w := get(t, "GET", "/debug/slubd/counters?cache=counters")
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if w.Code != 200 || len(lines) != int(slub.NumEvents) {
		t.Fatalf("status %d, %d lines", w.Code, len(lines))
	}
	for e, line := range lines {
		var sum, cpus uint64
		words := strings.Fields(line)
		if words[0] != slub.Event(e).String() {
			t.Errorf("line %d is %q", e, line)
		}
		fmt.Sscan(words[1], &sum)
		for _, word := range words[2:] {
			var cpu int
			var n uint64
			if _, err := fmt.Sscanf(word, "C%d=%d", &cpu, &n); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			cpus += n
		}
		if want := c.Stats().Events[e]; sum != want || cpus != want {
			t.Errorf("%q, want %d", line, want)
		}
	}
	if w := get(t, "GET", "/debug/slubd/counters?cache=none"); w.Code != http.StatusNotFound {
		t.Errorf("a cache that is not there: status %d", w.Code)
	}
}

func TestSlabinfo(t *testing.T) {
	c := newCache(t, slub.Config{Name: "slabinfo-row", Size: 96}, 300)
	s := c.Stats()
	var objects, slabs uint64
	for _, n := range s.Nodes {
		objects, slabs = objects+n.Objects, slabs+n.Slabs
	}
	text := get(t, "GET", "/debug/slubd/slabinfo").Body.String()
	if !strings.HasPrefix(text, "slabinfo - version: 2.1\n# name            <active_objs>") {
		t.Errorf("%.200s", text)
	}
	row := regexp.MustCompile(`(?m)^slabinfo-row +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) : tunables +0 +0 +0 : slabdata +(\d+) +(\d+) +0$`).FindStringSubmatch(text)
	want := []string{fmt.Sprint(objects), fmt.Sprint(s.SlotSize), fmt.Sprint(s.ObjectsPerSlab), fmt.Sprint(1 << s.Order), fmt.Sprint(slabs), fmt.Sprint(slabs)}
	if row == nil || strings.Join(row[2:], " ") != strings.Join(want, " ") {
		t.Errorf("row %q, want %v", row, want)
	}
	var active uint64
	if row != nil {
		fmt.Sscan(row[1], &active)
	}
	if active < 300 || active > objects {
		t.Errorf("%d active of %d", active, objects)
	}
}
