package remediations_test

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
)

func token(cluster string, epoch, seq int64) remediations.Fencing {
	return remediations.Fencing{ClusterID: cluster, Epoch: epoch, Seq: seq}
}

// standing of an executor that obeys cluster c_1 and holds these tokens.
func standing(tokens ...remediations.Fencing) remediations.Standing {
	s := remediations.Standing{Obeys: []string{"c_1"}, Epochs: map[string]int64{}}
	for _, f := range tokens {
		s.Subjects = append(s.Subjects, remediations.Held{Site: "fra", Service: "checkout", Fencing: f})
		s.Epochs[f.ClusterID] = max(s.Epochs[f.ClusterID], f.Epoch)
	}
	return s
}

func TestJudge(t *testing.T) {
	f := func(s remediations.Standing, next remediations.Fencing, verdict, remedy string) {
		t.Helper()
		got, sentence, how := s.Judge(next)
		if got != verdict || sentence == "" || !strings.Contains(how, remedy) {
			t.Errorf("%s (%s; %s), want %s and %q", got, sentence, how, verdict, remedy)
		}
	}
	f(standing(), token("c_1", 1, 1), remediations.StandingOK, "")
	f(remediations.Standing{}, token("c_9", 1, 1), remediations.StandingOK, "") // obeys whoever comes first
	f(standing(token("c_1", 3, 40)), token("c_1", 3, 41), remediations.StandingOK, "")
	f(standing(token("c_1", 3, 40)), token("c_1", 3, 39), remediations.StandingSeqBehind, "--epoch 4")
	f(standing(token("c_1", 3, 40)), token("c_1", 4, 1), remediations.StandingOK, "")
	f(standing(token("c_1", 3, 40)), token("c_1", 2, 900), remediations.StandingEpochBehind, "--epoch 4")
	f(standing(token("c_1", 3, 40)), token("c_2", 9, 900), remediations.StandingUnknownCluster, "--cluster-id c_1 --epoch 4")
}

func TestNext(t *testing.T) {
	f := func(s remediations.Standing, cluster string, want remediations.Fencing, problem string) {
		t.Helper()
		got, err := s.Next(cluster)
		if problem != "" {
			if err == nil || !strings.Contains(err.Error(), problem) {
				t.Errorf("%v, want %q", err, problem)
			}
			return
		}
		if err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	f(standing(token("c_1", 3, 40), token("c_1", 2, 99)), "", token("c_1", 3, 41), "")
	f(standing(), "", token("c_1", 1, 1), "")
	f(remediations.Standing{}, "", token("", 0, 0), "knows 0 clusters")
	f(remediations.Standing{}, "c_7", token("c_7", 1, 1), "")
	two := standing(token("c_1", 1, 1))
	two.Obeys = append(two.Obeys, "c_2")
	f(two, "", token("", 0, 0), "knows 2 clusters [c_1 c_2]")
	f(two, "c_2", token("c_2", 1, 1), "")
	f(two, "c_3", token("", 0, 0), "does not obey")
}

func FuzzPreflight(f *testing.F) {
	body, err := remediations.PreflightBody("c_1", time.Unix(1e9, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"preflight":{"obeys":["c_1"],"subjects":[{"site":"fra","fencing":{"cluster_id":"c_1","epoch":1,"seq":2}}],"epochs":{"c_1":1}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, ok := remediations.ParsePreflight(b); ok && len(b) == 0 {
			t.Errorf("%+v out of nothing", q)
		}
		s, err := remediations.ParseStanding(b)
		if err != nil {
			return
		}
		if next, err := s.Next(""); err == nil && (next.Epoch < 1 || next.ClusterID == "") {
			t.Errorf("the next token is %+v", next)
		}
	})
}
