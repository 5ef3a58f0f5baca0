// Package remediationtest holds the contract tests of package remediations. Whoever writes a target or an executor
// runs them from a test of their own; an executor is spoken to over HTTP, so it can be written in any language.
//
//	func TestContract(t *testing.T) {
//		remediationtest.TestExecutor(t, func(t *testing.T) remediationtest.Executor {
//			return remediationtest.Executor{URL: start(t), Secrets: []string{secret}, ClusterID: "c_1", Site: "fra", Service: "checkout"}
//		})
//	}
package remediationtest
