package metrics

import (
	"io"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// get asks the handler for a page in the format named.
func get(t *testing.T, accept string) (contentType, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	Handler().ServeHTTP(w, r)
	text, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("status %d, %v", w.Code, err)
	}
	return w.Header().Get("Content-Type"), string(text)
}

func TestHandlerServesBothFormats(t *testing.T) {
	newCache(t, nil, slub.Config{Name: "served"})
	for accept, end := range map[string]string{"text/plain": "\n", "application/openmetrics-text; version=1.0.0": "# EOF\n"} {
		contentType, body := get(t, accept)
		media, _, _ := strings.Cut(accept, ";")
		if !strings.HasPrefix(contentType, media) || !strings.HasSuffix(body, end) {
			t.Errorf("asked for %s, got %s ending in %q", accept, contentType, body[max(0, len(body)-20):])
		}
		for _, name := range []string{
			`slubd_cache_alloc_fastpath_total{cache="served"}`, "slubd_build_info{", "go_goroutines ", "process_open_fds ",
		} {
			if !strings.Contains(body, "\n"+name) {
				t.Errorf("%s: no %s", accept, name)
			}
		}
	}
}

func TestDebugHandler(t *testing.T) {
	h := DebugHandler()
	for path, begins := range map[string]string{"/metrics": "# HELP ", "/debug/slubd/": "<!doctype html>", "/debug/pprof/slubd": "\x1f\x8b", "/debug/slubd/allocinfo": "allocinfo - version"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if body := w.Body.String(); w.Code != 200 || !strings.HasPrefix(body, begins) {
			t.Errorf("%s: status %d, %.20q", path, w.Code, body)
		}
	}
}

func TestDefaultRegistryIsLeftAlone(t *testing.T) {
	Handler()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), namespace) {
			t.Errorf("the default registry has %s", f.GetName())
		}
	}
}

func TestPromtool(t *testing.T) {
	promtool := testutil.Need(t, "promtool", "prometheus")
	newCache(t, nil, slub.Config{Name: "checked"})
	_, body := get(t, "text/plain")
	cmd := exec.Command(promtool, "check", "metrics", "--extended")
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
