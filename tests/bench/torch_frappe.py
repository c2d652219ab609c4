"""The baseline that train_frappe.sh stands beside: PyTorch training the job of launch/jobs/frappe.yaml.

One process, one thread: embedding 10, four cross layers in parallel with three layers of 400 (batch norm,
ReLU, dropout .4), Adam 1e-3, dense L2 on the table, clip 10. Prints samples/s of training alone, by epoch.

    python3 torch_frappe.py DATA_DIR [epochs] [mlp|dcnv2] [threads]
"""
import csv
import sys
import time

import torch
from torch import nn

FIELDS = ["user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city"]


def load(path, vocab):
    ids, labels = [], []
    with open(path, newline="") as f:
        for row in csv.DictReader(f):
            ids.append([vocab.setdefault((k, row[k]), len(vocab)) for k in FIELDS])
            labels.append(float(row["label"]))
    return torch.tensor(ids), torch.tensor(labels)


class Net(nn.Module):
    def __init__(self, rows, family, dim=10, width=400, depth=3, dropout=0.4, cross=4):
        super().__init__()
        d = len(FIELDS) * dim
        self.table = nn.Embedding(rows, dim)
        nn.init.normal_(self.table.weight, std=1e-4)
        layers, size = [], d
        for _ in range(depth):
            layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]
            size = width
        self.deep = nn.Sequential(*layers)
        self.cross = nn.ModuleList(nn.Linear(d, d) for _ in range(cross if family == "dcnv2" else 0))
        self.head = nn.Linear(size + (d if family == "dcnv2" else 0), 1)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.xavier_normal_(m.weight)
                nn.init.zeros_(m.bias)

    def forward(self, ids):
        x0 = self.table(ids).flatten(1)
        parts, x = [self.deep(x0)], x0
        for layer in self.cross:
            x = x0 * layer(x) + x
        if len(self.cross) > 0:
            parts.append(x)
        return self.head(torch.cat(parts, 1)).squeeze(1)


def auc(scores, labels):
    order = torch.argsort(scores)
    _, inverse, counts = torch.unique(scores[order], return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    rank = (last - (counts - 1) / 2)[inverse].double()
    positive = labels[order] == 1
    p = positive.sum().item()
    n = len(labels) - p
    return ((rank[positive].sum() - p * (p + 1) / 2) / (p * n)).item()


def main():
    root = sys.argv[1]
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    family = sys.argv[3] if len(sys.argv) > 3 else "dcnv2"
    torch.set_num_threads(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    torch.manual_seed(2019)
    vocab = {}
    ids, labels = load(root + "/frappe_x1/train.csv", vocab)
    vids, vlabels = load(root + "/frappe_x1/valid.csv", vocab)
    net = Net(len(vocab), family, dropout=0.4 if family == "dcnv2" else 0.2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    loss_of = nn.BCEWithLogitsLoss()
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(labels))
        began = time.perf_counter()
        for at in range(0, len(order), 4096):
            batch = order[at : at + 4096]
            optimizer.zero_grad()
            loss = loss_of(net(ids[batch]), labels[batch]) + 0.025 * net.table.weight.square().sum()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            optimizer.step()
        seconds = time.perf_counter() - began
        net.eval()
        with torch.no_grad():
            scores = torch.cat([net(vids[i : i + 4096]) for i in range(0, len(vids), 4096)])
        print(
            f"torch {torch.__version__} {family} epoch {epoch + 1}: {len(labels) / seconds:.0f} samples/s, "
            f"valid AUC {auc(scores, vlabels):.5f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
