package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// member is the configuration of etcd as one of several. What an empty directory may do is settled here.
func (l *Ledger) member(ctx context.Context, dir string, o Options) (*embed.Config, error) {
	r := o.Replicas
	peer, err := peerURL(r.Peer)
	if err != nil {
		return nil, err
	}
	listen := *peer
	if r.Listen != "" {
		if _, _, err := net.SplitHostPort(r.Listen); err != nil {
			return nil, &core.Error{
				Code: core.CodeInvalid, Message: fmt.Sprintf("%q is no address to listen on for the other replicas", r.Listen),
				Hint: "write host:port, as in --peer-listen 0.0.0.0:8452, or as listen of the replica in the configuration", Err: err,
			}
		}
		listen.Host = r.Listen
	}
	joined, err := hasLedger(dir)
	if err != nil {
		return nil, err
	}
	var b *bundle
	switch {
	case joined:
		if err := sameReplica(o.Dir, r.Name); err != nil {
			return nil, err
		}
	case len(r.Join) > 0:
		if b, err = parseBundle(r.Join); err != nil {
			return nil, err
		}
		if b.Name != r.Name || strings.TrimSuffix(b.Peer, "/") != peer.String() {
			return nil, &core.Error{
				Code: core.CodeInvalid, Message: fmt.Sprintf("the bundle is for replica %s at %s, this is %s at %s", b.Name, b.Peer, r.Name, peer),
				Hint: "use the bundle that was made for this replica, with the address it has in the configuration",
			}
		}
	case !r.Bootstrap:
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: "replica " + r.Name + " has no ledger in " + o.Dir + " and is not told to join one",
			Hint: "if its disk is lost, make a bundle at a replica that works with 'evenkeel-server replica replace " + r.Name +
				" --out FILE' and start this one with serve --join FILE; a new one joins in the same way by 'replica add'; " +
				"only the very first replica of a new installation is started with serve --bootstrap",
		}
	}
	files, err := l.certificates(o.Dir, r, b, peer)
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(o.Dir, replicaFile), r.Name+"\n"); err != nil { // a kill must not leave an empty one
		return nil, notUsable(o.Dir, err)
	}
	c := common(dir, o.quota, l.log)
	c.Name = r.Name
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{listen}, []url.URL{*peer}
	c.ListenClientUrls, c.ListenClientHttpUrls = nil, nil
	// Nobody calls it: clients are in this process. But etcd takes a member without one for one that never started.
	c.AdvertiseClientUrls = []url.URL{*peer}
	c.PeerTLSInfo = files.info()
	c.InitialCluster = c.Name + "=" + peer.String()
	if b != nil {
		members, err := askMembers(ctx, b, files)
		if err != nil {
			return nil, err
		}
		c.ClusterState = embed.ClusterStateFlagExisting
		c.InitialCluster = initialCluster(members)
	}
	t := l.lead.t
	c.TickMs, c.ElectionMs = uint(t.tick.Milliseconds()), uint(t.election.Milliseconds())
	// A follower that was away for a while catches up from entries; after longer it is sent the whole database.
	c.SnapshotCount, c.SnapshotCatchUpEntries = 10_000, 5_000
	return c, nil
}

// replicaFile holds the name of the replica whose ledger a directory is.
const replicaFile = "replica"

// sameReplica refuses the ledger of another replica: two with the same one would undo each other's votes.
func sameReplica(dir, name string) error {
	text, err := os.ReadFile(filepath.Join(dir, replicaFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil // of an earlier version, or of a server that was alone
	}
	if err != nil {
		return notUsable(dir, err)
	}
	if was := strings.TrimSpace(string(text)); was != name {
		return &core.Error{
			Code: core.CodeConflict, Message: fmt.Sprintf("the ledger in %s is that of replica %s, this is %s", dir, was, name),
			Hint: "start it with --replica " + was + ", or give the data directory of " + name + " with --data",
		}
	}
	return nil
}

func initialCluster(members map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		for peer := range strings.SplitSeq(members[name], ",") {
			out = append(out, name+"="+peer)
		}
	}
	return strings.Join(out, ",")
}

// Begun reports whether there is a ledger in a directory.
func Begun(dir string) (bool, error) { return hasLedger(filepath.Join(dir, "etcd")) }

func hasLedger(dir string) (bool, error) {
	if cut, err := cutOff(dir); cut || err != nil {
		return false, err
	}
	entries, err := os.ReadDir(filepath.Join(dir, "member", "wal"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, notUsable(dir, err)
	}
	return len(entries) > 0, nil
}

// certificates are the files to speak TLS with: the operator's own, or of our authority.
func (l *Ledger) certificates(dir string, r *Replicas, b *bundle, peer *url.URL) (TLSFiles, error) {
	if !r.TLS.empty() {
		return r.TLS, r.TLS.check()
	}
	a, err := loadAuthority(dir)
	if err != nil {
		return TLSFiles{}, err
	}
	switch {
	case b != nil && b.CA == "":
		return TLSFiles{}, &core.Error{
			Code: core.CodeInvalid, Message: "the other replicas use certificates of their own, this one has none",
			Hint: "name them in the configuration: ledger: {tls: {ca: FILE, cert: FILE, key: FILE}}",
		}
	case b != nil:
		if a, err = parseAuthority([]byte(b.CA), []byte(b.CAKey)); err != nil {
			return TLSFiles{}, tlsProblem(err)
		}
	case a == nil:
		if a, err = newAuthority(time.Now()); err != nil {
			return TLSFiles{}, err
		}
	}
	if err := installAuthority(dir, a); err != nil {
		return TLSFiles{}, err
	}
	return ownTLS(dir), renewPeer(dir, a, r.Name, peer, time.Now())
}

// dial calls an etcd that somebody else runs.
func dial(r *Replicas, log *slog.Logger) (*clientv3.Client, error) {
	c := clientv3.Config{
		Endpoints: r.Endpoints, DialTimeout: 5 * time.Second, DialKeepAliveTime: 5 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second, Logger: newZap(log), PermitWithoutStream: true,
		MaxCallSendMsgSize: maxBytes + 1<<20,
	}
	if !r.TLS.empty() {
		if err := r.TLS.check(); err != nil {
			return nil, err
		}
		config, err := r.TLS.info().ClientConfig()
		if err != nil {
			return nil, tlsProblem(err)
		}
		c.TLS = config
	}
	client, err := clientv3.New(c)
	if err != nil {
		return nil, unavailable("the ledger's etcd cannot be called", err)
	}
	return client, nil
}

// Members are the members of the cluster as this replica knows it, sorted by name; none for a server that is alone or
// whose etcd somebody else runs.
func (l *Ledger) Members(context.Context) ([]core.Member, error) {
	if l.lead == nil || l.server == nil {
		return nil, nil
	}
	var out []core.Member
	for _, m := range l.server.Server.Cluster().Members() {
		x := core.Member{Name: m.Name, State: core.MemberVoter}
		if len(m.PeerURLs) > 0 {
			x.Peer = m.PeerURLs[0]
		}
		if m.IsLearner {
			x.State = core.MemberLearner
		}
		if x.Name == "" {
			x.Name = notStarted(x.Peer)
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b core.Member) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// notStarted stands for the name of a member that never started: etcd learns the name from the member itself.
func notStarted(peer string) string { return "(not started: " + peer + ")" }

// AddReplica takes a new member in, as a learner that gets a vote once it has caught up, and returns the bundle it
// starts with. With replace a member of that name leaves first.
func (l *Ledger) AddReplica(ctx context.Context, name, peer string, replace bool) ([]byte, error) {
	if err := l.several(); err != nil {
		return nil, err
	}
	u, err := peerURL(peer)
	if err != nil {
		return nil, err
	}
	a, err := loadAuthority(l.dir)
	if err != nil {
		return nil, err
	}
	l.joining.Lock()
	defer l.joining.Unlock()
	l.updatePeer(ctx) // the bundle says where this one is reached
	waits := false    // a member that never started waits for it
	members := l.server.Server.Cluster().Members()
	for _, m := range members {
		if m.Name != "" && m.Name != name && slices.Contains(m.PeerURLs, u.String()) {
			return nil, &core.Error{
				Code: core.CodeConflict, Message: fmt.Sprintf("%s is the peer address of replica %s", u, m.Name),
				Hint: "name the address at which the others reach " + name,
			}
		}
	}
	for _, m := range members {
		switch {
		case m.Name != name && !slices.Contains(m.PeerURLs, u.String()):
			continue
		case m.Name == "":
			waits = true // the membership stands, and the bundle is made again
			continue
		case !replace:
			return nil, &core.Error{
				Code: core.CodeConflict, Message: fmt.Sprintf("replica %s is a member already", name),
				Hint: "if its disk is lost: evenkeel-server replica replace " + name + " --out FILE",
			}
		case m.ID == l.server.Server.MemberID():
			return nil, &core.Error{
				Code: core.CodeConflict, Message: "replica " + name + " is the one that was asked, and cannot replace itself",
				Hint: "ask another one with --server",
			}
		}
		if err := l.remove(ctx, uint64(m.ID), m.Name); err != nil {
			return nil, err
		}
	}
	if !waits {
		if err := l.whenHealthy(ctx, func() error { return l.addLearner(ctx, u.String()) }); err != nil {
			return nil, memberFailed("replica "+name+" could not be added", err)
		}
	}
	b := bundle{Format: bundleFormat, Cluster: l.Identity().ClusterID, Name: name, Peer: u.String(), Members: map[string]string{}}
	for _, m := range l.server.Server.Cluster().Members() {
		if m.Name != "" && len(m.PeerURLs) > 0 {
			b.Members[m.Name] = m.PeerURLs[0]
		}
	}
	b.Members[name] = u.String()
	if l.self.TLS.empty() && a != nil {
		key, err := a.keyPEM()
		if err != nil {
			return nil, err
		}
		b.CA, b.CAKey = string(a.pem), string(key)
	}
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode the bundle: %w", err)
	}
	l.log.LogAttrs(ctx, slog.LevelInfo, "replica added", slog.String("replica", name), slog.String("peer", u.String()))
	return append(text, '\n'), nil
}

// addLearner adds a member without a vote. etcd writes also a change down that it refuses, and each start after that calls
// a member that never was; so what is bound to be refused is not asked.
func (l *Ledger) addLearner(ctx context.Context, peer string) error {
	for _, m := range l.server.Server.Cluster().Members() {
		if m.IsLearner {
			return rpctypes.ErrTooManyLearners
		}
	}
	_, err := l.client.MemberAddAsLearner(ctx, []string{peer})
	return err
}

// RemoveReplica lets a member leave, this one included. One that was added and never started has no name of its own: it is
// known by its peer address, or by the name that Members gives it.
func (l *Ledger) RemoveReplica(ctx context.Context, name, peer string) error {
	if err := l.several(); err != nil {
		return err
	}
	members := l.server.Server.Cluster().Members()
	for _, m := range members {
		unnamed := m.Name == "" && len(m.PeerURLs) > 0 && (m.PeerURLs[0] == peer || notStarted(m.PeerURLs[0]) == name)
		named := m.Name == name && name != ""
		switch {
		case !named && !unnamed:
			continue
		case len(members) == 1:
			return &core.Error{
				Code: core.CodeConflict, Message: "replica " + name + " is the last one and cannot leave", Hint: "stop it; its data directory is the ledger",
			}
		}
		return l.remove(ctx, uint64(m.ID), m.Name)
	}
	return &core.Error{Code: core.CodeNotFound, Message: "no replica " + name + " is a member", Hint: "see evenkeel-server replica list"}
}

func (l *Ledger) remove(ctx context.Context, id uint64, name string) error {
	if err := l.whenHealthy(ctx, func() error {
		_, err := l.client.MemberRemove(ctx, id)
		return err
	}); err != nil {
		return memberFailed("replica "+name+" could not be removed", err)
	}
	l.log.LogAttrs(ctx, slog.LevelInfo, "replica removed", slog.String("replica", cmp.Or(name, "one that never started")))
	if name == "" {
		return nil
	}
	if _, err := l.client.Delete(ctx, liveObservation+part(name)); err != nil {
		// It ages by itself. An election, which the removal of a leader begins, takes longer than this.
		l.log.LogAttrs(ctx, slog.LevelInfo, "last word of the replica not removed", slog.String("replica", name), errAttr(err))
	}
	return nil
}

// healthyWithin is how long a change of the membership is tried again. etcd wants its members to have seen each other for
// five seconds first, which one that has just joined has not, and takes one learner at a time.
const healthyWithin = 8 * time.Second

func (l *Ledger) whenHealthy(ctx context.Context, change func() error) error {
	for end := time.Now().Add(healthyWithin); ; {
		err := change()
		soon := errors.Is(err, rpctypes.ErrUnhealthy) || errors.Is(err, rpctypes.ErrTooManyLearners)
		if !soon || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
		l.pause(ctx)
	}
}

func (l *Ledger) several() error {
	if l.lead != nil && l.server != nil {
		return nil
	}
	return &core.Error{
		Code: core.CodeConflict, Message: "this server has no replicas of its own to add or remove",
		Hint: "declare them under replicas: and restart with --replica NAME; members of an etcd of your own are yours to change",
	}
}

func memberFailed(message string, err error) error {
	hint := "a majority of the members must be there; see evenkeel-server replica list"
	switch {
	case errors.Is(err, rpctypes.ErrUnhealthy), errors.Is(err, rpctypes.ErrMemberNotEnoughStarted):
		hint = "not all members are well, and the change could cost the majority: bring them back, or remove the dead one first"
	case errors.Is(err, rpctypes.ErrTooManyLearners):
		hint = "another replica is joining: wait until it is a voter; one that never started leaves by: evenkeel-server replica remove NAME, as replica list shows it"
	}
	return &core.Error{Code: core.CodeUnavailable, Message: message, Hint: hint, Err: err}
}

const (
	tendEvery  = time.Second
	sweepEvery = time.Minute
	spokeEvery = 10 * time.Second
	renewEvery = time.Hour
	// relieveEvery is how often a ledger that is full is rewritten; one that is not, costs a look.
	relieveEvery = 10 * time.Minute
)

// tend looks after the membership and after what is left lying in live, until ctx is done.
func (l *Ledger) tend(ctx context.Context) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	swept, sweepTo := time.Now(), l.Revision()
	renewed := time.Now() // the start has seen to it
	var relieved, noted time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if l.server != nil {
			l.updatePeer(ctx)
			l.yield(ctx)
			if time.Since(noted) > spokeEvery && l.noteSpoken(ctx) {
				noted = time.Now()
			}
			if time.Since(renewed) > renewEvery {
				renewed = time.Now()
				if err := l.renew(renewed); err != nil {
					l.log.LogAttrs(ctx, slog.LevelWarn, "certificate of this replica not renewed", errAttr(err))
				}
			}
			if time.Since(relieved) > relieveEvery {
				relieved = time.Now()
				if err := l.relieve(ctx); err != nil {
					l.log.LogAttrs(ctx, slog.LevelWarn, "full ledger not relieved", errAttr(err))
				}
			}
		}
		if !l.Leading() {
			continue
		}
		if l.server != nil {
			l.promote(ctx)
		}
		if time.Since(swept) < sweepEvery {
			continue
		}
		before := sweepTo
		swept, sweepTo = time.Now(), l.Revision()
		if err := l.sweep(ctx, before); err != nil {
			l.log.LogAttrs(ctx, slog.LevelDebug, "answers not swept", errAttr(err))
		}
	}
}

// promote gives learners that have caught up their vote.
func (l *Ledger) promote(ctx context.Context) {
	for _, m := range l.server.Server.Cluster().Members() {
		if !m.IsLearner || m.Name == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := l.client.MemberPromote(ctx, uint64(m.ID))
		cancel()
		if err == nil {
			l.log.LogAttrs(ctx, slog.LevelInfo, "replica has a vote now", slog.String("replica", m.Name))
		} else if !errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
			l.log.LogAttrs(ctx, slog.LevelDebug, "replica not promoted", errAttr(err))
		}
	}
}

// yield gives the leadership inside etcd, when it is here, to the replica that leads. So the death of any other replica
// holds no write up, and that of the leader costs one wait and not two.
func (l *Ledger) yield(ctx context.Context) {
	s := l.server.Server
	if s.Leader() != s.MemberID() {
		return
	}
	leader := l.Leadership().Leader
	for _, m := range s.Cluster().Members() {
		if m.Name != leader || m.IsLearner || m.ID == s.MemberID() {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if err := s.MoveLeader(ctx, uint64(s.MemberID()), uint64(m.ID)); err != nil {
			l.log.LogAttrs(ctx, slog.LevelDebug, "leadership of etcd not handed over", slog.String("replica", leader), errAttr(err))
		}
		return
	}
}

// updatePeer tells the others where this replica is reached, when the configuration says otherwise than the ledger: a
// ledger that was alone has never been reached at all.
func (l *Ledger) updatePeer(ctx context.Context) {
	want := l.server.Config().AdvertisePeerUrls[0].String()
	self := l.server.Server.Cluster().Member(l.server.Server.MemberID())
	if self == nil || slices.Equal(self.PeerURLs, []string{want}) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := l.client.MemberUpdate(ctx, uint64(self.ID), []string{want}); err != nil {
		l.log.LogAttrs(ctx, slog.LevelWarn, "peer address not updated", slog.String("peer", want), errAttr(err))
		return
	}
	l.log.LogAttrs(ctx, slog.LevelInfo, "peer address updated", slog.String("peer", want))
}

// sweep removes answers that nobody took and that were written before the revision. Orders end by their lease.
func (l *Ledger) sweep(ctx context.Context, before int64) error {
	res, err := l.client.Get(ctx, liveAnswer, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return unavailable("the ledger does not answer", err)
	}
	for _, kv := range res.Kvs {
		if kv.GetModRevision() < before {
			if _, err := l.client.Delete(ctx, string(kv.GetKey())); err != nil {
				return unavailable("the ledger does not answer", err)
			}
		}
	}
	return nil
}

// Failed is closed when etcd has stopped by itself, as it does when the others remove this member.
func (l *Ledger) Failed() <-chan struct{} {
	if l.server == nil {
		return nil
	}
	return l.server.Server.StopNotify()
}
