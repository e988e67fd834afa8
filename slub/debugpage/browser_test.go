//go:build cgo && !race && !invariants

package debugpage

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// drawn returns the document that the browser has made of a page after some answers.
func drawn(t *testing.T, chromium, url string) string {
	t.Helper()
	out, err := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--virtual-time-budget=10000", "--dump-dom", url).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// The page works with a link that names nothing, asks no more for a cache that has been closed, and
// leaves the keyboard's focus at the button of its cache when it draws again.
func TestBrowserKeepsFocus(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	chromium := testutil.Need(t, "chromium", "chromium")
	newCache(t, slub.Config{Name: "focused", Size: 64}, 1)
	handler := Handler()
	const user = `<script>
open.add("closed");
const button = () => [...document.querySelectorAll("#caches button")].find(b => b.textContent === "focused");
const note = (drawn, first) => {
  if (Number(document.body.dataset.drawn || 0) < drawn) return setTimeout(note, 100, drawn, first);
  if (!first) { button().focus(); return note(drawn + 2, button()); }
  document.body.dataset.seen = [document.activeElement === button(), first === button(), open.has("closed"), texts.has("closed")];
};
note(1);
</script>`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			handler.ServeHTTP(w, r)
			return
		}
		// The page with a user, and without the policy, which would forbid one.
		page := httptest.NewRecorder()
		handler.ServeHTTP(page, r)
		fmt.Fprint(w, strings.Replace(page.Body.String(), "</body>", user+"</body>", 1))
	}))
	defer server.Close()
	// The focus is there, the button a new one; the closed cache is not open and has no text.
	if dom := drawn(t, chromium, server.URL+"/#%"); !strings.Contains(dom, ` data-seen="true,false,false,false"`) {
		t.Errorf("%.20000s", dom)
	}
}

// A browser draws the page: every cache has a row, the arena a bar, the domain its oldest reader,
// the open cache its counters by CPU, and nothing was loaded from elsewhere. In one kind of build,
// since it takes seconds.
func TestBrowserDrawsThePage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	chromium := testutil.Need(t, "chromium", "chromium")
	const caches = 200
	var all []*slub.Cache
	for i := range caches {
		c, err := slub.New(nil, slub.Config{Name: fmt.Sprintf("page-%03d", i), Size: 64, ProfileRate: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	var held []unsafe.Pointer
	for range 1000 {
		p, err := all[7].Alloc()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, p)
	}
	for _, c := range all[100:120] {
		p, err := c.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		c.FreeRCU(p)
	}
	reader := slub.DefaultDomain().Register("slow-reader")
	token := slub.DefaultDomain().Start()
	slub.DefaultDomain().Poll(token)

	mux := http.NewServeMux()
	mux.Handle("/debug/slubd/", Handler())
	server := httptest.NewServer(mux)
	defer server.Close()
	dom := drawn(t, chromium, server.URL+"/debug/slubd/#page-007")
	for what, pattern := range map[string]string{
		"a second answer":     `data-drawn="([2-9]|[1-9][0-9]+)"`,
		"no name of an error": `<p id="status" role="status" class="">process \d+, go[^:]*</p>`,
		"the time":            `<p id="time">\d\d:\d\d:\d\d</p>`,
		"all caches":          `<small id="count">\d+</small>`,
		"objects in use":      `>62.5 KiB<`,
		"the arena's bar":     `aria-label="used [\d.]+ [KMG]iB, dirty`,
		"the oldest reader":   `>slow-reader<`,
		"its place":           `debugpage/browser_test.go:\d+`,
		"counters by CPU":     `alloc_fastpath \d+( C\d+=\d+)+`,
		"the kernel's order":  `(?s)alloc_fastpath.*sheaf_return_slow`,
		"sheaves of a CPU":    `title="CPU \d+, node 0: main \d+`,
		"a bound on backlogs": `>and \d+ more backlogs<`,
	} {
		if !regexp.MustCompile(pattern).MatchString(dom) {
			t.Errorf("the page lacks %s: %s", what, pattern)
		}
	}
	if n := len(regexp.MustCompile(`>page-\d{3}</button>`).FindAllString(dom, -1)); n != caches {
		t.Errorf("%d rows of %d caches", n, caches)
	}
	if n := strings.Count(dom, "<h3>backlog "); n != 5 {
		t.Errorf("%d backlogs have panels", n)
	}
	for _, bad := range []string{"[object ", "undefined", "NaN", "no answer"} {
		if body := dom[:strings.LastIndex(dom, "<script>")]; strings.Contains(body, bad) {
			t.Errorf("the page says %q", bad)
		}
	}
	if t.Failed() {
		t.Logf("%.20000s", dom)
	}
	reader.Close()
	for _, p := range held {
		all[7].Free(p)
	}
	for _, c := range all {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
