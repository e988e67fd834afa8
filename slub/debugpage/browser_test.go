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
	reader := slub.DefaultDomain().Register("slow-reader")
	token := slub.DefaultDomain().Start()
	slub.DefaultDomain().Poll(token)

	mux := http.NewServeMux()
	mux.Handle("/debug/slubd/", Handler())
	server := httptest.NewServer(mux)
	defer server.Close()
	out, err := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--virtual-time-budget=10000", "--dump-dom", server.URL+"/debug/slubd/#page-007").Output()
	if err != nil {
		t.Fatal(err)
	}
	dom := string(out)
	for what, pattern := range map[string]string{
		"a second answer":     `data-drawn="([2-9]|[1-9][0-9]+)"`,
		"no name of an error": `<p id="status" role="status" class="">process \d+`,
		"all caches":          `<small id="count">\d+</small>`,
		"objects in use":      `>62.5 KiB<`,
		"the arena's bar":     `aria-label="used [\d.]+ [KMG]iB, dirty`,
		"the oldest reader":   `>slow-reader<`,
		"its place":           `debugpage/browser_test.go:\d+`,
		"counters by CPU":     `alloc_fastpath \d+( C\d+=\d+)+`,
		"the kernel's order":  `(?s)alloc_fastpath.*sheaf_return_slow`,
		"sheaves of a CPU":    `title="CPU \d+, node 0: main \d+`,
	} {
		if !regexp.MustCompile(pattern).MatchString(dom) {
			t.Errorf("the page lacks %s: %s", what, pattern)
		}
	}
	if n := len(regexp.MustCompile(`>page-\d{3}</button>`).FindAllString(dom, -1)); n != caches {
		t.Errorf("%d rows of %d caches", n, caches)
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
