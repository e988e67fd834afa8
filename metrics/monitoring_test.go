package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// metricNames are all names of series that a scrape can show, and those that rules.yml records.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	types := regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)
	for _, m := range types.FindAllStringSubmatch(readFile(t, "testdata/handmade.prom"), -1) {
		names[m[1]] = true
		if m[2] == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				names[m[1]+part] = true
			}
		}
	}
	for _, name := range []string{"mode_info", "build_info", "guard_reports_total"} {
		names["slubd_"+name] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^  - record: (\S+)$`).FindAllStringSubmatch(readFile(t, "monitoring/rules.yml"), -1) {
		names[m[1]] = true
	}
	return names
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Rules, alerts, their tests and the dashboard name metrics that exist.
func TestMonitoringNamesMetricsThatExist(t *testing.T) {
	names := metricNames(t)
	for _, file := range []string{"rules.yml", "alerts.yml", "alerts_test.yml", "dashboard.json"} {
		found := regexp.MustCompile(`\bslubd[_:][a-z0-9_:]+`).FindAllString(readFile(t, "monitoring/"+file), -1)
		if len(found) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, name := range found {
			if !names[name] {
				t.Errorf("%s: there is no %s", file, name)
			}
		}
	}
}

// runbooks is the beginning of what Alertmanager shows as links.
const runbooks = "https://github.com/slubd/slubd/blob/main/docs/operating.md#"

// Each alert has a test that it fires, one that it doesn't, and a section in docs/operating.md.
func TestEachAlertIsTestedAndExplained(t *testing.T) {
	alerts := regexp.MustCompile(`(?m)^  - alert: (\S+)$`).FindAllStringSubmatch(readFile(t, "monitoring/alerts.yml"), -1)
	if len(alerts) < 10 {
		t.Errorf("%d alerts", len(alerts))
	}
	tests, doc := readFile(t, "monitoring/alerts_test.yml"), readFile(t, "../docs/operating.md")
	for _, m := range alerts {
		for _, want := range []string{"- name: " + m[1] + " fires\n", "- name: " + m[1] + " stays quiet\n"} {
			if !strings.Contains(tests, want) {
				t.Errorf("no test %q", want)
			}
		}
		if !strings.Contains(doc, "\n### "+m[1]+"\n") {
			t.Errorf("docs/operating.md has no section on %s", m[1])
		}
		if !strings.Contains(readFile(t, "monitoring/alerts.yml"), "runbook_url: "+runbooks+strings.ToLower(m[1])+"\n") {
			t.Errorf("%s has no runbook", m[1])
		}
	}
}

func TestPromtoolRunsTheAlertTests(t *testing.T) {
	promtool := testutil.Need(t, "promtool", "prometheus")
	for _, args := range [][]string{{"check", "rules", "rules.yml", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = "monitoring"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// The dashboard is what Grafana imports: panels with their own numbers and places, that overlap
// nowhere, and queries that choose by job and instance.
func TestDashboard(t *testing.T) {
	var d struct {
		Title, UID string
		Panels     []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, LegendFormat, RefID string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, "monitoring/dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	ids, places := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: no title, or a number that was there", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := places[at]; other != "" || at[0] >= 24 {
					t.Fatalf("%q lies over %q, or beyond the grid", p.Title, other)
				}
				places[at] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, `job=~"$job",instance=~"$instance"`) || target.RefID == "" || target.LegendFormat == "" {
				t.Errorf("%q: %+v", p.Title, target)
			}
		}
	}
	if d.UID != "slubd" || len(ids) < 15 {
		t.Errorf("uid %q, %d panels", d.UID, len(ids))
	}
}
