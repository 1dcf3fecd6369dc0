// What KEDA's and Karpenter's own schemas say of the custom resources on stdin (a JSON list), a line each.
import { readFileSync } from "node:fs";
import { NodePool } from "@kubernetes-models/karpenter/karpenter.sh/v1";
import { ScaledObject, TriggerAuthentication } from "@kubernetes-models/keda/keda.sh/v1alpha1";

const KINDS = { NodePool, ScaledObject, TriggerAuthentication };

for (const manifest of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new KINDS[manifest.kind](manifest).validate();
  } catch (error) {
    console.log(`${manifest.kind} ${manifest.metadata.name}: ${error.message}`);
  }
}
