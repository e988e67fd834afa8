//go:build cgo && !race && !invariants

package page

import (
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// measure is a script that notes what a reader would stumble over: a page wider than its window,
// charts without a size, figures that lie outside of their line.
const measure = `<script>
const wide = [...document.querySelectorAll("main *")].filter(e => !e.closest("svg, .scroll, pre, details:not([open])") &&
  e.getBoundingClientRect().right > innerWidth + 1).map(e => e.className || e.tagName);
const flat = [...document.querySelectorAll(".line svg, .plot > svg")].filter(e => {
  const r = e.getBoundingClientRect(); return r.width < 60 || r.height < 10 }).length;
const out = [...document.querySelectorAll(".line circle.median")].filter(e => {
  const r = e.getBoundingClientRect(), s = e.ownerSVGElement.getBoundingClientRect();
  return r.left < s.left - 6 || r.right > s.right + 6 }).length;
const cut = [...document.querySelectorAll(".value, .ratio, .facts b")].filter(e => e.scrollWidth > e.clientWidth + 1).length;
document.body.dataset.seen = [innerWidth, document.documentElement.scrollWidth - innerWidth, wide.length, flat, out, cut, wide.slice(0, 5)].join(",");
</script>`

// A browser lays the page out as it was meant, in a wide window and in one of a phone.
func TestBrowserLaysOutThePage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	chromium := testutil.Need(t, "chromium", "chromium")
	text := write(t, document(t))
	// The policy of the page would forbid the script.
	text = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAllString(text, "")
	text = strings.Replace(text, "</body>", measure+"</body>", 1)
	for _, width := range []int{1280, 390} {
		// Windows have a least width, so the page is in a frame.
		frame := fmt.Sprintf(`<body><iframe style="width:%dpx;height:3000px;border:0" srcdoc="%s"
onload="document.body.dataset.seen = contentDocument.body.dataset.seen"></iframe>`, width, html.EscapeString(text))
		file := filepath.Join(t.TempDir(), "frame.html")
		if err := os.WriteFile(file, []byte(frame), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
			"--user-data-dir="+t.TempDir(), "--window-size=1400,3000", "--dump-dom", "file://"+file).Output()
		if err != nil {
			t.Fatal(err)
		}
		seen := regexp.MustCompile(`data-seen="(\d+),(-?\d+),(\d+),(\d+),(\d+),(\d+),([^"]*)"`).FindStringSubmatch(string(out))
		if seen == nil {
			t.Fatalf("the page was not measured: %.3000s", out)
		}
		if seen[1] != fmt.Sprint(width) {
			t.Errorf("the window is %s wide, not %d", seen[1], width)
		}
		if strings.HasPrefix(seen[2], "-") {
			seen[2] = "0" // a scroll bar takes some of the width
		}
		if seen[2] != "0" || seen[3] != "0" || seen[4] != "0" || seen[5] != "0" || seen[6] != "0" {
			t.Errorf("in a window of %s: %s too wide, %s elements beyond it, %s flat charts, %s medians outside, %s texts cut (%s)",
				seen[1], seen[2], seen[3], seen[4], seen[5], seen[6], seen[7])
		}
	}
}
