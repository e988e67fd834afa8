//go:build cgo && !race && !invariants

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/testutil"
)

// A promServer is a Prometheus that scrapes a kvd.
type promServer struct {
	address string
	exited  chan struct{} // closed when it has ended
}

// query runs an instant query and returns how many series there are.
func (p promServer) query(expr string) (series int, err error) {
	answer, err := http.Get("http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var a struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	if err := json.NewDecoder(answer.Body).Decode(&a); err != nil {
		return 0, err
	}
	if a.Status != "success" {
		return 0, fmt.Errorf("%s: %s", a.Status, a.Error)
	}
	return len(a.Data.Result), nil
}

// startPrometheus runs a Prometheus with the module's rules until the test's end.
func startPrometheus(t *testing.T, d daemon) promServer {
	t.Helper()
	program := testutil.Need(t, "prometheus", "prometheus")
	rules, err := filepath.Abs("../../metrics/monitoring")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\n"+
		"rule_files: [%s/rules.yml, %s/alerts.yml]\nscrape_configs:\n- job_name: kvd\n  static_configs: [{targets: ['%s']}]\n", rules, rules, d.web)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	// A port that is free now; Prometheus can't say which one it has chosen.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--enable-feature=native-histograms", "--log.level=warn")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := promServer{address, make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.exited
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s", text)
		}
	})
	return p
}

// A real Prometheus scrapes kvd, evaluates the rules, and understands every query of the dashboard.
// In one kind of build, since it takes seconds.
func TestPrometheusScrapesKvd(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Prometheus")
	}
	d := start(t, options{limit: 100 << 20})
	p := dial(t, d)
	for i := range 1000 {
		p.ask(t, fmt.Sprintf("set key%d value", i))
	}
	prom := startPrometheus(t, d)
	for _, expr := range []string{
		`up{job="kvd"} == 1`, "kvd_keys == 1000", `slubd_cache_in_use_bytes > 0`, "slubd:arena_limit:ratio > 0",
		`sum by (arena) (slubd_cache_in_use_bytes * on (job, instance, cache) group_left (arena) slubd_cache_info{arena="kvd"}) > 0`,
		"histogram_count(slubd_rcu_grace_period_duration_seconds) >= 0", // a native one
		`slubd_cache_alloc_failures_total{reason="limit"} == 0`,
	} {
		// It starts and scrapes when it can: the deadline of go test is the only one.
		for n, err := prom.query(expr); n == 0; n, err = prom.query(expr) {
			select {
			case <-prom.exited:
				t.Fatalf("%s: Prometheus has ended; %v", expr, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	text, err := os.ReadFile("../../metrics/monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	chosen := strings.NewReplacer("$__rate_interval", "1m", "$job", "kvd", "$instance", ".*")
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			if _, err := prom.query(chosen.Replace(target.Expr)); err != nil {
				t.Errorf("%s: %s: %v", panel.Title, target.Expr, err)
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
	d.finish(t)
}
